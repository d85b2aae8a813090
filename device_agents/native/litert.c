/* LiteRT's C interface, as far as it is needed. Handles are opaque; 0 is success everywhere. */

typedef int Status;
typedef void *Handle;
typedef size_t Index;

enum {
    STATUS_OK = 0,
    STATUS_NO_MEMORY = 2,
    STATUS_FAILED = 3,
    STATUS_UNSUPPORTED = 5,
    STATUS_NO_MODEL = 501,
};
enum { ACCELERATOR_CPU = 1, ACCELERATOR_GPU = 2, ACCELERATOR_NPU = 4 };
enum { READING = 0, WRITING = 1 };
enum { QUANTIZED_PER_TENSOR = 1 };
enum { ANY_INT = 2, ANY_TEXT = 8 };
enum {
    OPTION_DISPATCH_FOLDER = 1,   /* where libraries of an NPU are */
    OPTION_RUNTIME_FOLDER = 22,   /* where libraries of a GPU are */
    OPTION_ACCELERATORS = 24,     /* those that are looked for; by default all */
    OPTION_LEAST_SEVERITY = 25,   /* of what is logged to stderr */
};
enum { LOG_ERRORS = 3 };
enum { EVENT_OPERATOR = 2, EVENT_DELEGATE = 4, EVENT_DELEGATE_PROFILED = 8 };

typedef struct {
    unsigned rank : 7, has_strides : 1;
    int32_t size[MAX_RANK];
    uint32_t stride[MAX_RANK];
} Layout;

typedef struct {
    int element;
    Layout layout;
} TensorType;

typedef struct {
    int type;
    union {
        bool truth;
        int64_t integer;
        double real;
        const void *pointer;
    } is;
} Any;

typedef struct {
    int tag;
    Any value;
} EnvironmentOption;

typedef struct {
    float scale;
    int64_t zero_point;
} Quantization;

typedef struct {
    const char *tag;
    int type;
    uint64_t start_us, elapsed_us;
    size_t memory[6];
    uint64_t node, extra;
    int source;
} ProfilerEvent;

/* member, exported name, result, parameters. `model_2` and `model_3` are one symbol with two
 * ABIs: 2.1.3 to 2.1.5 take no environment, later ones do, and export LiteRtCreateModelFromFd. */
#define NEEDED(X)                                                                                 \
    X(environment, LiteRtCreateEnvironment, Status, (int, const EnvironmentOption *, Handle *))   \
    X(model_2, LiteRtCreateModelFromFile, Status, (const char *, Handle *))                       \
    X(model_3, LiteRtCreateModelFromFile, Status, (Handle, const char *, Handle *))               \
    X(destroy_model, LiteRtDestroyModel, void, (Handle))                                          \
    X(options, LiteRtCreateOptions, Status, (Handle *))                                           \
    X(accelerators, LiteRtSetOptionsHardwareAccelerators, Status, (Handle, int))                  \
    X(opaque, LiteRtCreateOpaqueOptions, Status,                                                  \
      (const char *, void *, void (*)(void *), Handle *))                                         \
    X(add_opaque, LiteRtAddOpaqueOptions, Status, (Handle, Handle))                               \
    X(destroy_options, LiteRtDestroyOptions, void, (Handle))                                      \
    X(compile, LiteRtCreateCompiledModel, Status, (Handle, Handle, Handle, Handle *))             \
    X(destroy_compiled, LiteRtDestroyCompiledModel, void, (Handle))                               \
    X(signature_count, LiteRtGetNumModelSignatures, Status, (Handle, Index *))                    \
    X(signature, LiteRtGetModelSignature, Status, (Handle, Index, Handle *))                      \
    X(signature_graph, LiteRtGetSignatureSubgraph, Status, (Handle, Handle *))                    \
    X(main_graph, LiteRtGetMainModelSubgraphIndex, Status, (Handle, Index *))                     \
    X(graph, LiteRtGetModelSubgraph, Status, (Handle, Index, Handle *))                           \
    X(operator_count, LiteRtGetNumSubgraphOps, Status, (Handle, Index *))                         \
    X(signature_inputs, LiteRtGetNumSignatureInputs, Status, (Handle, Index *))                   \
    X(signature_input, LiteRtGetSignatureInputTensorByIndex, Status, (Handle, Index, Handle *))   \
    X(graph_inputs, LiteRtGetNumSubgraphInputs, Status, (Handle, Index *))                        \
    X(graph_input, LiteRtGetSubgraphInput, Status, (Handle, Index, Handle *))                     \
    X(signature_outputs, LiteRtGetNumSignatureOutputs, Status, (Handle, Index *))                 \
    X(signature_output, LiteRtGetSignatureOutputTensorByIndex, Status, (Handle, Index, Handle *)) \
    X(graph_outputs, LiteRtGetNumSubgraphOutputs, Status, (Handle, Index *))                      \
    X(graph_output, LiteRtGetSubgraphOutput, Status, (Handle, Index, Handle *))                   \
    X(tensor_name, LiteRtGetTensorName, Status, (Handle, const char **))                          \
    X(tensor_type, LiteRtGetRankedTensorType, Status, (Handle, TensorType *))                     \
    X(quantization_kind, LiteRtGetQuantizationTypeId, Status, (Handle, int *))                    \
    X(quantization, LiteRtGetPerTensorQuantization, Status, (Handle, Quantization *))             \
    X(input_layout, LiteRtGetCompiledModelInputTensorLayout, Status,                              \
      (Handle, Index, Index, Layout *))                                                           \
    X(output_layouts, LiteRtGetCompiledModelOutputTensorLayouts, Status,                          \
      (Handle, Index, size_t, Layout *, bool))                                                    \
    X(input_needs, LiteRtGetCompiledModelInputBufferRequirements, Status,                         \
      (Handle, Index, Index, Handle *))                                                           \
    X(output_needs, LiteRtGetCompiledModelOutputBufferRequirements, Status,                       \
      (Handle, Index, Index, Handle *))                                                           \
    X(buffer, LiteRtCreateManagedTensorBufferFromRequirements, Status,                            \
      (Handle, const TensorType *, Handle, Handle *))                                             \
    X(buffer_size, LiteRtGetTensorBufferPackedSize, Status, (Handle, size_t *))                   \
    X(lock, LiteRtLockTensorBuffer, Status, (Handle, void **, int))                               \
    X(unlock, LiteRtUnlockTensorBuffer, Status, (Handle))                                         \
    X(destroy_buffer, LiteRtDestroyTensorBuffer, void, (Handle))                                  \
    X(run, LiteRtRunCompiledModel, Status, (Handle, Index, size_t, Handle *, size_t, Handle *))

#define OPTIONAL(X)                                                                               \
    X(model_from_fd, LiteRtCreateModelFromFd, Status, (void))                                     \
    X(fully_accelerated, LiteRtCompiledModelIsFullyAccelerated, Status, (Handle, bool *))         \
    X(beyond_cpu, LiteRtCompiledModelIsNonCpuFullyAccelerated, Status, (Handle, bool *))          \
    X(status_text, LiteRtGetStatusString, const char *, (Status))                                 \
    X(profiler, LiteRtCompiledModelGetProfiler, Status, (Handle, Handle *))                       \
    X(profiler_start, LiteRtStartProfiler, Status, (Handle))                                      \
    X(profiler_stop, LiteRtStopProfiler, Status, (Handle))                                        \
    X(event_count, LiteRtGetNumProfilerEvents, Status, (Handle, int *))                           \
    X(events, LiteRtGetProfilerEvents, Status, (Handle, int, ProfilerEvent *))

#define DECLARE(member, symbol, result, parameters) result(*member) parameters;
static struct {
    NEEDED(DECLARE)
    OPTIONAL(DECLARE)
} rt;

typedef struct {
    const char *symbol;
    void *member;
    bool needed;
} Symbol;

#define NEEDED_ROW(member, symbol, result, parameters) {#symbol, &rt.member, true},
#define OPTIONAL_ROW(member, symbol, result, parameters) {#symbol, &rt.member, false},
static const Symbol symbols[] = {NEEDED(NEEDED_ROW) OPTIONAL(OPTIONAL_ROW)};
enum { SYMBOLS = sizeof symbols / sizeof *symbols };

static const char *library_path, *library_version = "unknown";
static bool library_open; /* whether `rt` can be called */

/* Load the library and fill `rt`; a Failure here is the `problem` of the hello. */
static bool open_library(Failure *failure)
{
    size_t index, absent = 0;
    const char *first_absent = NULL;
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *reason = dlerror();
        return fail(failure, "no_runtime", "start",
                    "give it a libLiteRt.so that was built for this device: its processor, and a "
                    "C library no newer than the device's",
                    "the runtime cannot be loaded: %s", reason != NULL ? reason : library_path);
    }
    for (index = 0; index < SYMBOLS; index++) {
        void *found = dlsym(library, symbols[index].symbol);
        if (found == NULL && symbols[index].needed) {
            first_absent = absent++ > 0 ? first_absent : symbols[index].symbol;
        }
        /* ISO C knows no way from an object's pointer to a function's; POSIX promises this one. */
        memcpy(symbols[index].member, &found, sizeof found);
    }
    if (dlsym(library, "LiteRtCreateCpuOptions") != NULL)
        return fail(failure, "no_runtime", "start", "use LiteRT 2.1.3 or later",
                    "%s is of LiteRT 2.1.2 or older, whose options this agent cannot set",
                    library_path);
    if (absent > 0)
        return fail(failure, "no_runtime", "start",
                    "use the libLiteRt.so of LiteRT 2.1.3 or later",
                    "%s lacks %zu functions of LiteRT's C interface, %s among them", library_path,
                    absent, first_absent);
    library_open = true;
    return true;
}

static bool wants_environment(void)
{
    return rt.model_from_fd != NULL;
}

/* What a status means, for messages. */
static const char *status_meaning(Status status)
{
    static const struct {
        Status status;
        const char *meaning;
    } known[] = {{1, "invalid argument"},  {2, "out of memory"},       {3, "runtime failure"},
                 {4, "missing input"},     {5, "unsupported"},         {6, "not found"},
                 {8, "wrong version"},     {500, "file cannot be read"}, {501, "not a model"},
                 {502, "dynamic loading"}, {504, "compilation failed"}};
    size_t index;
    for (index = 0; index < sizeof known / sizeof *known; index++)
        if (known[index].status == status)
            return known[index].meaning;
    return rt.status_text != NULL ? rt.status_text(status) : "unknown";
}

/* LiteRT tells why it refuses a model on stderr alone, so stderr is listened to meanwhile. The
 * pipe never blocks: what does not fit into it is lost. */
typedef struct {
    int saved, pipe[2];
} Listening;

static Listening *volatile listening_now; /* for crashed() */

static void listen_begin(Listening *listening)
{
    listening->saved = -1;
    if (pipe(listening->pipe) != 0)
        return;
    fcntl(listening->pipe[0], F_SETFL, O_NONBLOCK);
    fcntl(listening->pipe[1], F_SETFL, O_NONBLOCK);
    fflush(stderr);
    listening->saved = dup(2);
    if (listening->saved >= 0)
        dup2(listening->pipe[1], 2);
    close(listening->pipe[1]);
    listening_now = listening;
}

/* What was said, on one line and without mere information, in `room`; the host's record of
 * stderr gets all of it. */
static void listen_end(Listening *listening, char *room, size_t size)
{
    char heard[8192], *line, *rest = NULL;
    size_t used = 0, kept = 0;
    ssize_t got;
    room[0] = '\0';
    listening_now = NULL;
    if (listening->saved < 0)
        return;
    dup2(listening->saved, 2);
    close(listening->saved);
    while (kept < sizeof heard - 1 &&
           (got = read(listening->pipe[0], heard + kept, sizeof heard - 1 - kept)) > 0)
        kept += (size_t)got;
    close(listening->pipe[0]);
    heard[kept] = '\0';
    fputs(heard, stderr);
    for (line = strtok_r(heard, "\r\n", &rest); line != NULL; line = strtok_r(NULL, "\r\n", &rest))
        if (strncmp(line, "INFO:", 5) != 0 && used + strlen(line) + 2 < size)
            used += (size_t)snprintf(room + used, size - used, "%s%s", used > 0 ? " " : "", line);
}

/* LiteRT does not verify a model before it follows its offsets: a damaged file can crash it. Such
 * an end is an answer too, as long as a model loads. Only calls that signal handlers may make. */
static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE};
enum { CRASHES = sizeof crashes / sizeof *crashes };

static void crashed(int number)
{
    static const char line[] =
        "{\"type\":\"error\",\"kind\":\"bad_model\",\"stage\":\"load\",\"message\":\"LiteRT crashed "
        "while it loaded the model\",\"hint\":\"is the file whole, and a model?\"}\n";
    (void)number;
    if (listening_now != NULL && listening_now->saved >= 0) {
        char heard[512];
        ssize_t got;
        while ((got = read(listening_now->pipe[0], heard, sizeof heard)) > 0)
            if (write(listening_now->saved, heard, (size_t)got) < 0)
                break;
    }
    (void)write_all(line, sizeof line - 1);
    _exit(1);
}

static void watch_crashes(bool on)
{
    static char stack[1 << 16]; /* the crash may be for want of stack */
    struct sigaction action;
    stack_t other;
    size_t index;
    memset(&other, 0, sizeof other);
    other.ss_sp = stack;
    other.ss_size = sizeof stack;
    sigaltstack(&other, NULL);
    memset(&action, 0, sizeof action);
    action.sa_handler = on ? crashed : SIG_DFL;
    action.sa_flags = SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (index = 0; index < CRASHES; index++)
        sigaction(crashes[index], &action, NULL);
}
