/* What a trial says of itself beside its samples: memory, threads, conditions, who ran the model. */

/* Of memory at its steps: the peak so far, and what the process has then. Threads: before the
 * model is loaded, and once it has run; -1: not told. */
typedef struct {
    int64_t peak[3], resident[3];
    int64_t threads_before, threads_after;
    Text conditions;
} Trial;

enum { AT_START, AT_LOAD, AT_END };

static void note_memory(Trial *trial, int step)
{
    trial->peak[step] = peak_memory();
    trial->resident[step] = own_memory("VmRSS");
}

/* Load the model of the request and say so: what the process had before is not the model's. */
static bool load_for_trial(const Json *request, Engine *engine, Trial *trial, Failure *failure)
{
    memset(trial, 0, sizeof *trial);
    note_memory(trial, AT_START);
    trial->threads_before = thread_count();
    if (!load(request, NULL, false, engine, failure))
        return false;
    send_loaded(engine);
    note_memory(trial, AT_LOAD);
    return true;
}

static void put_steps(Text *text, const char *name, const int64_t *values)
{
    static const char *const steps[] = {"{\"start\":", ",\"loaded\":", ",\"end\":"};
    int step;
    put_string(text, name);
    put(text, ":");
    for (step = AT_START; step <= AT_END; step++) {
        put(text, steps[step]);
        put_count_or_null(text, values[step]);
    }
    put(text, "}");
}

/* How the machine is `at` ns after the origin: before what is measured, and after it. */
static void note_conditions(Trial *trial, int64_t at)
{
    put(&trial->conditions, trial->conditions.size == 0 ? "{\"before\":" : ",\"after\":");
    put_conditions(&trial->conditions, at);
}

/* Behind another fact: the threads, and what `put_engine_facts` has. */
static void put_who_ran(Text *facts, const Json *request, const Engine *engine, const Trial *trial)
{
    int64_t asked;
    /* Libraries of accelerators have threads of their own. */
    bool counted = engine->accelerator == ACCELERATOR_CPU && trial->threads_before >= 0 &&
                   trial->threads_after >= 0;
    member_int(request, "threads", 1, 1, MAX_THREADS, &asked);
    put(facts, ",\"threads_asked\":");
    put_int(facts, asked);
    put(facts, ",\"threads_found\":");
    put_count_or_null(facts, counted ? trial->threads_after - trial->threads_before + 1 : -1);
    put_engine_facts(facts, engine);
}

/* The end of a trial, with the conditions before and after it noted. */
static void put_trial(Text *facts, const Json *request, const Engine *engine, Trial *trial)
{
    note_memory(trial, AT_END);
    put_steps(facts, "memory_peak_bytes", trial->peak);
    put(facts, ",");
    put_steps(facts, "memory_resident_bytes", trial->resident);
    put(facts, ",\"conditions\":");
    put_bytes(facts, trial->conditions.data, trial->conditions.size);
    put(facts, "}");
    put_who_ran(facts, request, engine, trial);
}
