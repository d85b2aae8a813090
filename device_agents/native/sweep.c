/* The action sweep: every sample once, by several workers. */

typedef struct {
    const Samples *samples;
    size_t count, step;
    bool reset;
    int64_t wanted[MAX_OUTPUTS]; /* places of outputs */
    int wanted_count;
    pthread_mutex_t lock; /* guards what follows */
    size_t next;
    bool failed;
    Failure failure;
} Sweep;

typedef struct {
    Sweep *sweep;
    Engine engine;
    Prepare prepare;
    unsigned char *rows[MAX_OUTPUTS];
    Text text;
} Worker;

/* Outputs of `count` samples from `first` on; a block never is more than one message holds. */
static void send_outputs(Worker *worker, int which, size_t first, size_t count)
{
    const Tensor *tensor = &worker->engine.outputs[worker->sweep->wanted[which]];
    bool rows = tensor->layout.rank > 0 && tensor->layout.size[0] == 1;
    Text *text = &worker->text;
    int axis;
    put(text, "{\"type\":\"outputs\",\"tensor\":");
    put_int(text, worker->sweep->wanted[which]);
    put(text, ",\"offset\":");
    put_int(text, (int64_t)first);
    put(text, ",\"shape\":[");
    put_int(text, (int64_t)count);
    if (rows) {
        for (axis = 1; axis < (int)tensor->layout.rank; axis++) {
            put(text, ",");
            put_int(text, tensor->layout.size[axis]);
        }
    } else {
        put(text, ",");
        put_int(text, (int64_t)tensor->count);
    }
    put(text, "],\"dtype\":");
    put_string(text, types[tensor->type].name);
    put(text, ",\"data\":\"");
    put_base64(text, worker->rows[which], count * tensor->bytes);
    put(text, "\"}");
    send_line(text);
}

static bool evaluate(Worker *worker, size_t first, size_t count, Failure *failure)
{
    Sweep *sweep = worker->sweep;
    Engine *engine = &worker->engine;
    size_t row;
    int which;
    for (row = 0; row < count; row++) {
        const unsigned char *sample = sweep->samples->data + (first + row) * sweep->samples->row;
        Status status;
        tell_progress();
        if (sweep->reset && first + row > 0) {
            /* The C interface cannot clear variables: a new compiled model has fresh ones. */
            discard(engine);
            status = compile(engine);
            if (status != STATUS_OK)
                return invoke_failed("accuracy", status, failure);
        }
        if (!feed(engine, &engine->inputs[0], &worker->prepare, sample))
            return fail(failure, "invoke_failed", "accuracy", "", "the input cannot be written");
        status = run(engine);
        if (status != STATUS_OK)
            return invoke_failed("accuracy", status, failure);
        for (which = 0; which < sweep->wanted_count; which++) {
            const Tensor *tensor = &engine->outputs[sweep->wanted[which]];
            Handle buffer = engine->output_buffers[tensor->place];
            void *memory = NULL;
            if (rt.lock(buffer, &memory, READING) != STATUS_OK || memory == NULL)
                return fail(failure, "invoke_failed", "accuracy", "", "an output cannot be read");
            memcpy(worker->rows[which] + row * tensor->bytes, memory, tensor->bytes);
            rt.unlock(buffer);
        }
    }
    for (which = 0; which < sweep->wanted_count; which++)
        send_outputs(worker, which, first, count);
    return true;
}

static void *work(void *argument)
{
    Worker *worker = argument;
    Sweep *sweep = worker->sweep;
    for (;;) {
        size_t first, count;
        Failure failure;
        bool done;
        pthread_mutex_lock(&sweep->lock);
        first = sweep->next;
        done = sweep->failed || first >= sweep->count;
        count = done ? 0 : sweep->count - first < sweep->step ? sweep->count - first : sweep->step;
        sweep->next += count;
        pthread_mutex_unlock(&sweep->lock);
        if (done)
            return NULL;
        if (!evaluate(worker, first, count, &failure)) {
            pthread_mutex_lock(&sweep->lock);
            if (!sweep->failed)
                sweep->failure = failure;
            sweep->failed = true;
            pthread_mutex_unlock(&sweep->lock);
            return NULL;
        }
    }
}

static bool read_wanted(const Json *request, const Engine *engine, Sweep *sweep, Failure *failure)
{
    const Json *list = member(request, "outputs"), *item;
    char room[64];
    int index;
    sweep->wanted_count = 0;
    if (list == NULL) {
        sweep->wanted[sweep->wanted_count++] = 0;
    } else {
        bool good = list->type == JSON_ARRAY && list->first != NULL;
        for (item = good ? list->first : NULL; item != NULL && good; item = item->next) {
            good = sweep->wanted_count < MAX_OUTPUTS && item->type == JSON_INT &&
                   item->integer >= 0 && item->integer < (int64_t)engine->output_count;
            for (index = 0; good && index < sweep->wanted_count; index++)
                good = sweep->wanted[index] != item->integer;
            if (good)
                sweep->wanted[sweep->wanted_count++] = item->integer;
        }
        if (!good)
            return fail(failure, "bad_request", "accuracy", "", "outputs %s of a model with %zu",
                        shown(request, "outputs", room, sizeof room), engine->output_count);
    }
    return true;
}

static bool open_worker(Worker *worker, Sweep *sweep, const Json *request, Failure *failure)
{
    int which;
    worker->sweep = sweep;
    if (!prepare_open(request, &worker->engine.inputs[0], sweep->samples, "accuracy",
                      &worker->prepare, failure))
        return false;
    for (which = 0; which < sweep->wanted_count; which++)
        worker->rows[which] =
            allocate(sweep->step, worker->engine.outputs[sweep->wanted[which]].bytes);
    return true;
}

static bool run_sweep(const Json *request, Text *facts, Failure *failure)
{
    Samples samples;
    Sweep sweep;
    Engine first;
    Worker *workers;
    pthread_t *threads;
    int64_t count, asked, used, started, begin;
    size_t largest = 1, index;
    char room[64];
    const Json *reset = member(request, "reset_variables");
    if (!load(request, NULL, false, &first, failure))
        return false;
    send_loaded(&first);
    if (!open_samples(request, "accuracy", &samples, failure))
        return false;
    if (!member_int(request, "count", (int64_t)samples.count, 1, (int64_t)samples.count, &count))
        return fail(failure, "bad_request", "accuracy", "", "count %s of %zu samples",
                    shown(request, "count", room, sizeof room), samples.count);
    if (!member_int(request, "workers", 1, 1, MAX_WORKERS, &asked))
        return fail(failure, "bad_request", "accuracy", "", "workers is wrong: %s",
                    shown(request, "workers", room, sizeof room));
    if (reset != NULL && reset->type != JSON_BOOL)
        return fail(failure, "bad_request", "accuracy", "", "reset_variables is wrong: %s",
                    shown(request, "reset_variables", room, sizeof room));
    if (first.input_count != 1)
        return fail(failure, "bad_samples", "accuracy", "",
                    "the model has %zu inputs; a sweep feeds exactly one", first.input_count);
    memset(&sweep, 0, sizeof sweep);
    pthread_mutex_init(&sweep.lock, NULL);
    sweep.samples = &samples;
    sweep.count = (size_t)count;
    sweep.reset = reset != NULL && reset->truth;
    if (!read_wanted(request, &first, &sweep, failure))
        return false;
    begin = now_ns();
    for (index = 0; index < (size_t)sweep.wanted_count; index++)
        if (first.outputs[sweep.wanted[index]].bytes > largest)
            largest = first.outputs[sweep.wanted[index]].bytes;
    sweep.step = MAX_CHUNK / largest;
    sweep.step = sweep.step < 1 ? 1 : sweep.step > BLOCK ? BLOCK : sweep.step;
    used = (int64_t)((sweep.count + sweep.step - 1) / sweep.step);
    used = used < asked ? used : asked;
    workers = allocate((size_t)used, sizeof *workers);
    threads = allocate((size_t)used, sizeof *threads);
    for (index = 0; index < (size_t)used; index++) {
        if (index == 0)
            workers[0].engine = first;
        else if (!load(request, first.environment, false, &workers[index].engine, failure))
            return false;
        if (!open_worker(&workers[index], &sweep, request, failure))
            return false;
    }
    /* This thread is the first worker; one that cannot be started leaves its share to others. */
    for (started = 1; started < used; started++)
        if (pthread_create(&threads[started], NULL, work, &workers[started]) != 0)
            break;
    work(&workers[0]);
    while (--started > 0)
        pthread_join(threads[started], NULL);
    if (sweep.failed) {
        *failure = sweep.failure;
        return false;
    }
    put(facts, "\"samples\":");
    put_int(facts, count);
    put(facts, ",\"elapsed_ns\":");
    put_int(facts, now_ns() - begin);
    put(facts, ",\"workers\":");
    put_int(facts, used);
    put(facts, ",\"batch\":1,\"memory_peak_bytes\":{\"end\":");
    put_count_or_null(facts, peak_memory());
    put(facts, "}");
    put_engine_facts(facts, &workers[0].engine);
    return true;
}
