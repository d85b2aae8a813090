/* Stored samples into an input tensor, with the Python agent's arithmetic bit for bit: 32-bit
 * floats, one step after the other over the whole sample. */

typedef struct {
    Type from, to;
    size_t count, channels, row; /* elements of a sample, of its last axis, and bytes */
    float scale, *mean, *std;
    size_t means, stds; /* 1 or `channels` */
    bool shifts, divides, raw;
    float step, zero, low, high;
    float *real;
    unsigned char *table; /* of the 256 values that a byte has */
} Prepare;

/* One number, or a list of one or one per channel. */
static bool read_channels(const Json *preprocessing, const char *key, float fallback,
                          size_t channels, float **values, size_t *count)
{
    const Json *list = member(preprocessing, key), *item;
    *count = 1;
    if (list != NULL && list->type == JSON_ARRAY)
        for (*count = 0, item = list->first; item != NULL; item = item->next)
            ++*count;
    if (*count != 1 && *count != channels)
        return false;
    *values = resize(NULL, *count, sizeof **values);
    if (list == NULL) {
        **values = fallback;
        return true;
    }
    *count = 0;
    for (item = list->type == JSON_ARRAY ? list->first : list; item != NULL;
         item = list->type == JSON_ARRAY ? item->next : NULL) {
        if (item->type != JSON_INT && item->type != JSON_REAL)
            return false;
        (*values)[(*count)++] = (float)item->real;
    }
    return true;
}

static void prepare_convert(const Prepare *prepare, const unsigned char *from, unsigned char *to,
                            size_t count)
{
    float *real = prepare->to == F32 ? (float *)(void *)to : prepare->real;
    size_t index;
    if (prepare->raw) {
        size_t size = types[prepare->to].size, step = types[prepare->from].size;
        for (index = 0; index < count; index++) {
            int64_t value = 0;
            as_integers(prepare->from, from + index * step, &value, 1);
            store_integer(prepare->to, to + index * size, value);
        }
        return;
    }
    as_floats(prepare->from, from, real, count);
    if (prepare->scale != 1.0f)
        for (index = 0; index < count; index++)
            real[index] *= prepare->scale;
    if (prepare->shifts)
        for (index = 0; index < count; index++)
            real[index] -= prepare->mean[prepare->means == 1 ? 0 : index % prepare->means];
    if (prepare->divides)
        for (index = 0; index < count; index++)
            real[index] /= prepare->std[prepare->stds == 1 ? 0 : index % prepare->stds];
    switch (prepare->to) {
    case F32: return;
    case F16:
        for (index = 0; index < count; index++)
            memcpy(to + 2 * index, &(uint16_t){float_to_half(real[index])}, 2);
        return;
    case F64:
        for (index = 0; index < count; index++)
            memcpy(to + 8 * index, &(double){(double)real[index]}, 8);
        return;
    default: break;
    }
    for (index = 0; index < count; index++)
        real[index] /= prepare->step;
    for (index = 0; index < count; index++)
        real[index] = rintf(real[index]);
    for (index = 0; index < count; index++)
        real[index] += prepare->zero;
    for (index = 0; index < count; index++) {
        float value = real[index];
        value = value < prepare->low ? prepare->low : value > prepare->high ? prepare->high : value;
        store_integer(prepare->to, to + index * types[prepare->to].size, whole((double)value));
    }
}

/* A shape without its axes of length 1, for comparisons. */
static int squeezed(const int64_t *size, int rank, int64_t *kept)
{
    int index, count = 0;
    for (index = 0; index < rank; index++)
        if (size[index] != 1)
            kept[count++] = size[index];
    return count;
}

static const char *written_shape(const int64_t *size, int rank, char *room, size_t room_size)
{
    size_t used = 0;
    int index;
    snprintf(room, room_size, "[]");
    for (index = 0; index < rank && used + 24 < room_size; index++)
        used += (size_t)snprintf(room + used, room_size - used, "%s%" PRId64 "%s",
                                 index == 0 ? "[" : ", ", size[index],
                                 index == rank - 1 ? "]" : "");
    return room;
}

static bool prepare_open(const Json *request, const Tensor *tensor, const Samples *samples,
                         const char *stage, Prepare *prepare, Failure *failure)
{
    const Json *preprocessing = member(request, "preprocessing");
    int64_t shape[MAX_RANK], ours[MAX_RANK], theirs[MAX_SAMPLE_RANK];
    char first[128], second[256];
    int rank = (int)tensor->layout.rank, index, count;
    float *scale;
    size_t one;
    memset(prepare, 0, sizeof *prepare);
    for (index = 0; index < rank; index++)
        shape[index] = tensor->layout.size[index];
    if (rank < 1 || shape[0] != 1)
        return fail(failure, "bad_samples", stage, "convert the model with a batch of 1",
                    "the model's input has a fixed batch of %s, not 1",
                    written_shape(shape, rank, first, sizeof first));
    count = squeezed(shape + 1, rank - 1, ours);
    if (squeezed(samples->size + 1, samples->rank - 1, theirs) != count ||
        memcmp(ours, theirs, (size_t)count * sizeof *ours) != 0)
        return fail(failure, "bad_samples", stage, "",
                    "samples of shape %s do not fit the model's input %s",
                    written_shape(samples->size + 1, samples->rank - 1, second, sizeof second),
                    written_shape(shape + 1, rank - 1, first, sizeof first));
    if (!is_float(tensor->type) && !is_integer(tensor->type))
        return fail(failure, "bad_samples", stage, "", "the model's input holds no numbers");
    prepare->from = samples->type;
    prepare->to = tensor->type;
    prepare->count = tensor->count;
    prepare->row = samples->row;
    prepare->channels = rank > 1 ? (size_t)shape[rank - 1] : 1;
    if ((preprocessing != NULL && preprocessing->type != JSON_OBJECT &&
         preprocessing->type != JSON_NULL) ||
        !read_channels(preprocessing, "scale", 1.0f, 1, &scale, &one) ||
        !read_channels(preprocessing, "mean", 0.0f, prepare->channels, &prepare->mean,
                       &prepare->means) ||
        !read_channels(preprocessing, "std", 1.0f, prepare->channels, &prepare->std,
                       &prepare->stds))
        return fail(failure, "bad_request", stage, "", "preprocessing is wrong");
    prepare->scale = *scale;
    free(scale);
    for (one = 0; one < prepare->means; one++)
        prepare->shifts |= prepare->mean[one] != 0.0f;
    for (one = 0; one < prepare->stds; one++) {
        prepare->divides |= prepare->std[one] != 1.0f;
        if (prepare->std[one] == 0.0f)
            return fail(failure, "bad_request", stage, "", "preprocessing.std holds a zero");
    }
    prepare->raw = is_integer(tensor->type) && tensor->scale == 0.0f;
    prepare->step = tensor->scale;
    prepare->zero = (float)tensor->zero_point;
    prepare->low = (float)types[tensor->type].low;
    prepare->high = (float)types[tensor->type].high;
    prepare->real = resize(NULL, prepare->count > 256 ? prepare->count : 256, sizeof(float));
    if (samples->type == U8 && prepare->means == 1 && prepare->stds == 1) {
        unsigned char every[256];
        unsigned char *table = allocate(256, types[tensor->type].size);
        for (index = 0; index < 256; index++)
            every[index] = (unsigned char)index;
        prepare_convert(prepare, every, table, 256);
        prepare->table = table;
    }
    return true;
}

static void prepare_sample(const Prepare *prepare, const unsigned char *from, unsigned char *to)
{
    size_t index, size = types[prepare->to].size;
    if (prepare->table == NULL) {
        prepare_convert(prepare, from, to, prepare->count);
    } else if (size == 1) {
        for (index = 0; index < prepare->count; index++)
            to[index] = prepare->table[from[index]];
    } else {
        for (index = 0; index < prepare->count; index++)
            memcpy(to + index * size, prepare->table + from[index] * size, size);
    }
}

/* Fill an input: with a sample, or with zeros where there is none. */
static bool feed(Engine *engine, const Tensor *tensor, const Prepare *prepare,
                 const unsigned char *sample)
{
    Handle buffer = engine->input_buffers[tensor->place];
    void *memory = NULL;
    if (rt.lock(buffer, &memory, WRITING) != STATUS_OK || memory == NULL)
        return false;
    if (prepare != NULL)
        prepare_sample(prepare, sample, memory);
    else
        memset(memory, 0, tensor->bytes);
    return rt.unlock(buffer) == STATUS_OK;
}

/* The first sample into the first input, zeros into the others. */
static bool feed_first(const Json *request, Engine *engine, const char *stage, Failure *failure)
{
    Samples samples;
    Prepare prepare;
    Index index;
    bool good = true;
    if (!open_samples(request, stage, &samples, failure) ||
        !prepare_open(request, &engine->inputs[0], &samples, stage, &prepare, failure))
        return false;
    for (index = 0; index < engine->input_count && good; index++)
        good = feed(engine, &engine->inputs[index], index == 0 ? &prepare : NULL, samples.data);
    free(prepare.real);
    free(prepare.table);
    return good || fail(failure, "invoke_failed", stage, "", "an input cannot be written");
}
