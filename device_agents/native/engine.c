/* A model that LiteRT has made ready, with its tensors and their buffers. */

typedef struct {
    char name[MAX_NAME + 1];
    Type type;
    int element; /* LiteRT's word */
    Layout layout;
    size_t count, bytes;
    float scale; /* 0: not quantized */
    int64_t zero_point;
    Index place; /* in the signature, whose order is not the graph's */
} Tensor;

typedef struct {
    Handle environment, model, options, compiled;
    Index signature, operators;
    Index input_count, output_count;
    Tensor *inputs, *outputs;              /* in the order of the graph, as the host knows them */
    Handle *input_buffers, *output_buffers; /* in the order of the signature */
    int64_t load_ns, init_ns;
    int accelerator, threads;
    bool profile;
    const Tensor *odd; /* an input or output that holds no numbers */
    char said[1200];   /* by LiteRT, while it loaded */
} Engine;

static bool add_option(Engine *engine, const char *name, const char *toml)
{
    Handle option = NULL;
    char *payload = resize(NULL, strlen(toml) + 1, 1);
    strcpy(payload, toml);
    if (rt.opaque(name, payload, free, &option) != STATUS_OK) {
        free(payload);
        return false;
    }
    return rt.add_opaque(engine->options, option) == STATUS_OK;
}

static bool prepare_options(Engine *engine)
{
    char toml[64];
    if (rt.options(&engine->options) != STATUS_OK ||
        rt.accelerators(engine->options, engine->accelerator) != STATUS_OK)
        return false;
    snprintf(toml, sizeof toml, "num_threads = %d\n", engine->threads);
    /* One is read by the compiled model, the other by XNNPACK, and since 2.2.0 only so. */
    return add_option(engine, "cpu_delegate", toml) && add_option(engine, "xnnpack", toml) &&
           (!engine->profile ||
            add_option(engine, "runtime_options_string", "enable_profiling = true\n"));
}

static Status make_environment(Engine *engine)
{
    char *folder = NULL;
    EnvironmentOption options[3];
    Status status;
    memset(options, 0, sizeof options);
    options[0].tag = OPTION_LEAST_SEVERITY;
    options[0].value.type = ANY_INT;
    options[0].value.is.integer = LOG_ERRORS;
    options[1] = options[0];
    options[1].tag = OPTION_ACCELERATORS;
    options[1].value.is.integer = ACCELERATOR_CPU;
    if (engine->accelerator != ACCELERATOR_CPU) {
        /* Libraries of a GPU or an NPU are looked for beside LiteRT's own. */
        char *slash;
        folder = resize(NULL, strlen(library_path) + 2, 1);
        strcpy(folder, library_path);
        slash = strrchr(folder, '/');
        strcpy(slash != NULL ? slash : folder, slash != NULL ? "" : ".");
        options[1].tag = OPTION_RUNTIME_FOLDER;
        options[1].value.type = ANY_TEXT;
        options[1].value.is.pointer = folder;
        options[2] = options[1];
        options[2].tag = OPTION_DISPATCH_FOLDER;
    }
    status = rt.environment(folder != NULL ? 3 : 2, options, &engine->environment);
    free(folder);
    return status;
}

/* The signature that stands for the main graph, which is what an Interpreter runs. */
static bool find_signature(Engine *engine, Handle *signature, Handle *graph)
{
    Index count = 0, main_index = 0, index;
    Handle found = NULL;
    if (rt.signature_count(engine->model, &count) != STATUS_OK || count == 0 ||
        rt.main_graph(engine->model, &main_index) != STATUS_OK ||
        rt.graph(engine->model, main_index, graph) != STATUS_OK)
        return false;
    for (index = 0; index < count; index++)
        if (rt.signature(engine->model, index, signature) == STATUS_OK &&
            rt.signature_graph(*signature, &found) == STATUS_OK && found == *graph) {
            engine->signature = index;
            return true;
        }
    engine->signature = 0;
    return rt.signature(engine->model, 0, signature) == STATUS_OK &&
           rt.signature_graph(*signature, graph) == STATUS_OK;
}

static bool describe(Handle handle, Tensor *tensor)
{
    const char *name = NULL;
    TensorType type;
    Quantization quantization;
    int kind = 0, index;
    memset(&type, 0, sizeof type);
    if (rt.tensor_type(handle, &type) != STATUS_OK)
        return false;
    if (rt.tensor_name(handle, &name) == STATUS_OK && name != NULL)
        snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->element = type.element;
    tensor->layout = type.layout;
    for (tensor->type = 0; tensor->type < OTHER; tensor->type++)
        if (types[tensor->type].element == type.element)
            break;
    if (rt.quantization_kind(handle, &kind) == STATUS_OK && kind == QUANTIZED_PER_TENSOR &&
        rt.quantization(handle, &quantization) == STATUS_OK) {
        tensor->scale = quantization.scale;
        tensor->zero_point = quantization.zero_point;
    }
    for (index = 0; index < (int)tensor->layout.rank; index++)
        if (tensor->layout.size[index] < 0)
            tensor->layout.size[index] = 1; /* a free axis: as the Interpreter, one */
    return true;
}

static bool measure_tensor(Tensor *tensor)
{
    int index;
    tensor->count = 1;
    if (tensor->layout.rank > MAX_RANK)
        return false;
    for (index = 0; index < (int)tensor->layout.rank; index++) {
        if (tensor->layout.size[index] < 0 || tensor->count > (size_t)INT32_MAX)
            return false;
        tensor->count *= (size_t)tensor->layout.size[index];
    }
    tensor->bytes = tensor->count * types[tensor->type].size;
    return true;
}

typedef Status CountCall(Handle, Index *);
typedef Status TensorCall(Handle, Index, Handle *);

/* Inputs or outputs, in the order of the graph, each with its place in the signature. */
static bool list_tensors(Handle signature, CountCall *count_in, TensorCall *get_in, Handle graph,
                         CountCall *count_of, TensorCall *get_of, Tensor **tensors, Index *count)
{
    Handle *named, wanted = NULL;
    Index total = 0, index, place, used = 0;
    bool *taken, good = true;
    if (count_in(signature, count) != STATUS_OK || *count == 0 || *count > MAX_TENSORS ||
        count_of(graph, &total) != STATUS_OK || total > MAX_TENSORS)
        return false;
    named = allocate(*count, sizeof *named);
    taken = allocate(*count, sizeof *taken);
    *tensors = allocate(*count, sizeof **tensors);
    for (place = 0; place < *count && good; place++)
        good = get_in(signature, place, &named[place]) == STATUS_OK;
    for (index = 0; index < total + *count && good; index++) {
        /* First those of the graph, then what only the signature names. */
        bool of_graph = index < total;
        if (of_graph && get_of(graph, index, &wanted) != STATUS_OK)
            good = false;
        for (place = of_graph ? 0 : index - total; good && place < *count; place++) {
            if (!taken[place] && (!of_graph || named[place] == wanted)) {
                taken[place] = true;
                (*tensors)[used].place = place;
                good = describe(named[place], &(*tensors)[used++]);
                break;
            }
            if (!of_graph)
                break;
        }
    }
    free(named);
    free(taken);
    return good && used == *count;
}

static bool make_buffers(Engine *engine)
{
    Index index;
    engine->input_buffers = allocate(engine->input_count, sizeof(Handle));
    engine->output_buffers = allocate(engine->output_count, sizeof(Handle));
    for (index = 0; index < engine->input_count + engine->output_count; index++) {
        bool input = index < engine->input_count;
        Tensor *tensor =
            input ? &engine->inputs[index] : &engine->outputs[index - engine->input_count];
        Handle needs = NULL, *buffer = input ? engine->input_buffers : engine->output_buffers;
        TensorType type;
        size_t size = 0;
        memset(&type, 0, sizeof type);
        type.element = tensor->element;
        type.layout = tensor->layout;
        buffer += tensor->place;
        if ((input ? rt.input_needs : rt.output_needs)(engine->compiled, engine->signature,
                                                       tensor->place, &needs) != STATUS_OK ||
            rt.buffer(engine->environment, &type, needs, buffer) != STATUS_OK ||
            rt.buffer_size(*buffer, &size) != STATUS_OK ||
            size < tensor->bytes)
            return false;
    }
    return true;
}

/* A compiled model with its buffers; again and again for models whose state must be fresh. */
static Status compile(Engine *engine)
{
    Layout *layouts;
    Index index;
    Status status = rt.compile(engine->environment, engine->model, engine->options,
                               &engine->compiled);
    if (status != STATUS_OK)
        return status;
    for (index = 0; index < engine->input_count && status == STATUS_OK; index++)
        status = rt.input_layout(engine->compiled, engine->signature, engine->inputs[index].place,
                                 &engine->inputs[index].layout);
    /* Only the allocation tells the sizes of outputs, and whether every operator is there. */
    layouts = allocate(engine->output_count, sizeof *layouts);
    if (status == STATUS_OK)
        status = rt.output_layouts(engine->compiled, engine->signature, engine->output_count,
                                   layouts, true);
    for (index = 0; index < engine->output_count && status == STATUS_OK; index++)
        engine->outputs[index].layout = layouts[engine->outputs[index].place];
    free(layouts);
    for (index = 0; index < engine->input_count && status == STATUS_OK; index++)
        status = measure_tensor(&engine->inputs[index]) ? STATUS_OK : STATUS_NO_MODEL;
    for (index = 0; index < engine->output_count && status == STATUS_OK; index++)
        status = measure_tensor(&engine->outputs[index]) ? STATUS_OK : STATUS_NO_MODEL;
    return status == STATUS_OK && !make_buffers(engine) ? STATUS_FAILED : status;
}

static void discard(Engine *engine)
{
    Index index;
    for (index = 0; index < engine->input_count; index++)
        rt.destroy_buffer(engine->input_buffers[index]);
    for (index = 0; index < engine->output_count; index++)
        rt.destroy_buffer(engine->output_buffers[index]);
    free(engine->input_buffers);
    free(engine->output_buffers);
    rt.destroy_compiled(engine->compiled);
}

/* The Failure for a model that LiteRT refused. */
static bool refused(const Engine *engine, const char *accelerator, Status status, Failure *failure)
{
    /* The Python agent has the same list. No operator has version 0: the file is damaged. */
    static const char *const lacking[] = {"unresolved custom op", "op version", "op code",
                                          "didn't find op", "select tf", NULL};
    const char *const *word;
    bool damaged = strcasestr(engine->said, "version '0'") != NULL;
    const char *said = engine->said[0] != '\0' ? engine->said : "no reason given";
    if (status == STATUS_NO_MEMORY)
        return fail(failure, "out_of_memory", "load", "", "the device is out of memory");
    if (status == STATUS_UNSUPPORTED)
        return fail(failure, "unsupported", "load",
                    "if it has a state, use the Python agent; no agent runs more than 8 axes",
                    "LiteRT %s has no C interface for this model: %s", library_version, said);
    for (word = lacking; *word != NULL && !damaged; word++)
        if (strcasestr(engine->said, *word) != NULL)
            return fail(failure, "unsupported_operator", "load",
                        "use a newer runtime on the device, or convert without that operator",
                        "LiteRT %s lacks an operator of this model: %s", library_version, said);
    if (engine->accelerator != ACCELERATOR_CPU)
        return fail(failure, "unsupported_accelerator", "load",
                    "use a cpu backend, or a libLiteRt.so with its accelerator's library beside it",
                    "the %s of this device cannot run the model: %s (status %d): %s", accelerator,
                    status_meaning(status), status, said);
    return fail(failure, "bad_model", "load", "",
                "LiteRT %s cannot load the model: %s (status %d): %s", library_version,
                status_meaning(status), status, said);
}

static const Tensor *odd_one(const Tensor *tensors, Index count)
{
    while (count > 0 && tensors->type != OTHER) {
        tensors++;
        count--;
    }
    return count > 0 ? tensors : NULL;
}

static Status open_model(Engine *engine, const char *path)
{
    Handle signature = NULL, graph = NULL;
    Status status = STATUS_OK;
    int64_t begin = now_ns(), loaded;
    if (engine->environment == NULL)
        status = make_environment(engine);
    if (status == STATUS_OK)
        status = wants_environment() ? rt.model_3(engine->environment, path, &engine->model)
                                     : rt.model_2(path, &engine->model);
    if (status != STATUS_OK)
        return status;
    if (!find_signature(engine, &signature, &graph) ||
        rt.operator_count(graph, &engine->operators) != STATUS_OK ||
        !list_tensors(signature, rt.signature_inputs, rt.signature_input, graph, rt.graph_inputs,
                      rt.graph_input, &engine->inputs, &engine->input_count) ||
        !list_tensors(signature, rt.signature_outputs, rt.signature_output, graph,
                      rt.graph_outputs, rt.graph_output, &engine->outputs, &engine->output_count))
        return STATUS_NO_MODEL;
    engine->odd = odd_one(engine->inputs, engine->input_count);
    if (engine->odd == NULL)
        engine->odd = odd_one(engine->outputs, engine->output_count);
    if (engine->odd != NULL)
        return STATUS_UNSUPPORTED;
    loaded = now_ns();
    engine->load_ns = loaded - begin;
    if (!prepare_options(engine))
        return STATUS_FAILED;
    status = compile(engine);
    engine->init_ns = now_ns() - loaded;
    return status;
}

/* Read the model of the request and make it ready. Engines of one process share `environment`,
 * where the first has made it. */
static bool load(const Json *request, Handle environment, bool profile, Engine *engine,
                 Failure *failure)
{
    const char *declared = member_text(member(request, "model"), "path");
    const char *accelerator = member(request, "accelerator") == NULL
                                  ? "cpu"
                                  : member_text(request, "accelerator");
    char *path;
    int64_t threads;
    struct stat status;
    Listening listening;
    Status result;
    bool beyond_cpu = false;
    memset(engine, 0, sizeof *engine);
    if (declared == NULL || !member_int(request, "threads", 1, 1, MAX_THREADS, &threads))
        return fail(failure, "bad_request", "load", "",
                    "model.path or threads is missing or wrong");
    if (accelerator == NULL)
        return fail(failure, "bad_request", "load", "", "accelerator is wrong");
    path = expanded(declared);
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return fail(failure, "bad_model", "load", "", "no model file at %s", path);
    if (strcmp(accelerator, "cpu") == 0)
        engine->accelerator = ACCELERATOR_CPU;
    else if (strcmp(accelerator, "gpu") == 0)
        engine->accelerator = ACCELERATOR_GPU;
    else if (strcmp(accelerator, "npu") == 0)
        engine->accelerator = ACCELERATOR_NPU;
    else
        return fail(failure, "unsupported_accelerator", "load", "use a cpu backend on this device",
                    "this agent cannot drive '%.60s'", accelerator);
    if (!is_whole(path))
        return fail(failure, "bad_model", "load", "is the file whole, and a .tflite?",
                    "%s is no whole TensorFlow Lite model", path);
    engine->threads = (int)threads;
    engine->profile = profile;
    engine->environment = environment;
    listen_begin(&listening);
    watch_crashes(true);
    result = open_model(engine, path);
    watch_crashes(false);
    listen_end(&listening, engine->said, sizeof engine->said);
    free(path);
    if (engine->odd != NULL)
        return fail(failure, "unsupported", "load", "",
                    "the tensor '%.100s' holds no numbers; agents carry nothing else",
                    engine->odd->name);
    if (result != STATUS_OK)
        return refused(engine, accelerator, result, failure);
    if (engine->accelerator == ACCELERATOR_CPU)
        return true;
    /* Status 0 does not say who runs it: only this does, and only since 2.3.0. */
    if (rt.beyond_cpu == NULL)
        return fail(failure, "unsupported_accelerator", "load", "use LiteRT 2.3.0 or later",
                    "this library cannot tell whether the %s runs the model", accelerator);
    if (rt.beyond_cpu(engine->compiled, &beyond_cpu) != STATUS_OK || !beyond_cpu)
        return fail(failure, "unsupported_accelerator", "load",
                    "choose a recipe whose operators the accelerator has, or a cpu backend",
                    "the %s does not run all of this model: the rest would run on the CPU",
                    accelerator);
    return true;
}
