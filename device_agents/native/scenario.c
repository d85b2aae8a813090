/* The action scenario: see ../PROTOCOL.md. */

static bool read_asked(const Json *request, Asked *asked, Failure *failure)
{
    const char *name = member_text(request, "scenario");
    const Json *loadgen = member(request, "loadgen");
    char room[64];
    size_t index;
    const struct {
        const char *name;
        int64_t *whole;
        double *real, fallback, low, high;
    } wanted[] = {
        {"samples_per_query", &asked->samples_per_query, NULL, 8, 1, MAX_SAMPLES_PER_QUERY},
        {"target_qps", NULL, &asked->target_qps, 0, 1e-3, 1e6},
        {"latency_bound_ms", NULL, &asked->latency_bound_ms, 0, 1e-6, 1e6},
        {"warmup_runs", &asked->warmup_runs, NULL, 1, 0, MAX_QUERIES},
        {"warmup_seconds", NULL, &asked->warmup_seconds, 0.5, 0, 86400},
        {"min_seconds", NULL, &asked->min_seconds, 2, 0, 86400},
        {"min_queries", &asked->min_queries, NULL, 100, 1, MAX_QUERIES},
        {"max_seconds", NULL, &asked->max_seconds, 60, 1e-3, 86400},
        {"seed", &asked->seed, NULL, 0, 0, 0x1p62},
    };
    memset(asked, 0, sizeof *asked);
    while (asked->scenario < SCENARIOS &&
           (name == NULL || strcmp(name, scenarios[asked->scenario]) != 0))
        asked->scenario++;
    if (asked->scenario == SCENARIOS)
        return fail(failure, "bad_request", "scenario",
                    "one of single_stream, multi_stream, offline, server", "scenario is wrong: %s",
                    shown(request, "scenario", room, sizeof room));
    for (index = 0; index < sizeof wanted / sizeof *wanted; index++) {
        const Json *value = member(request, wanted[index].name);
        bool needed = wanted[index].fallback < wanted[index].low && asked->scenario == SERVER;
        bool good = value == NULL ? !needed
                                  : value->type == JSON_INT ||
                                        (value->type == JSON_REAL && wanted[index].real != NULL);
        if (value != NULL && good)
            good = value->real >= wanted[index].low && value->real <= wanted[index].high;
        if (!good) {
            static char hint[120]; /* a Failure keeps the pointer */
            snprintf(hint, sizeof hint, "%s is %s, %.7g to %.7g", wanted[index].name,
                     wanted[index].whole != NULL ? "a whole number" : "a number",
                     wanted[index].low, wanted[index].high);
            return fail(failure, "bad_request", "scenario", hint, "%s is wrong: %s",
                        wanted[index].name,
                        shown(request, wanted[index].name, room, sizeof room));
        }
        if (wanted[index].whole != NULL)
            *wanted[index].whole =
                value != NULL ? value->integer : (int64_t)wanted[index].fallback;
        else
            *wanted[index].real = value != NULL ? value->real : wanted[index].fallback;
    }
    if (loadgen != NULL && loadgen->type != JSON_BOOL)
        return fail(failure, "bad_request", "scenario", "", "loadgen is wrong: %s",
                    shown(request, "loadgen", room, sizeof room));
    asked->loadgen = loadgen != NULL && loadgen->truth;
    return true;
}

/* Samples are in memory before any timing: each page of those that are used is read once. */
static void read_ahead(const Samples *samples, size_t count)
{
    volatile unsigned char seen = 0;
    size_t at;
    for (at = 0; at < count * samples->row; at += 4096)
        seen ^= samples->data[at];
    seen ^= samples->data[count * samples->row - 1];
    (void)seen;
}

static bool run_scenario(const Json *request, Text *facts, Failure *failure)
{
    Asked asked;
    Engine engine;
    Bench bench;
    char room[64];
    Trial trial;
    int64_t count;
    Index index;
    bool good;
    if (!read_asked(request, &asked, failure))
        return false;
    if (!load_for_trial(request, &engine, &trial, failure))
        return false;
    memset(&bench, 0, sizeof bench);
    bench.asked = &asked;
    bench.engine = &engine;
    if (!open_samples(request, "scenario", &bench.samples, failure))
        return false;
    if (!member_int(request, "count", (int64_t)bench.samples.count, 1,
                    (int64_t)bench.samples.count, &count))
        return fail(failure, "bad_request", "scenario", "", "count %s of %zu samples",
                    shown(request, "count", room, sizeof room), bench.samples.count);
    if (asked.loadgen)
        return fail(failure, "unsupported", "scenario",
                    "leave loadgen out, or use the Python agent, with mlcommons-loadgen beside it",
                    "the native agent does not run under loadgen");
    bench.count = (size_t)count;
    if (!prepare_open(request, &engine.inputs[0], &bench.samples, "scenario", &bench.prepare,
                      failure))
        return false;
    for (index = 1; index < engine.input_count; index++)
        if (!feed(&engine, &engine.inputs[index], NULL, NULL))
            return fail(failure, "invoke_failed", "scenario", "", "an input cannot be written");
    read_ahead(&bench.samples, bench.count);
    bench.log.first.phase = "first";
    bench.log.warm_up.phase = "warmup";
    bench.log.query.phase = "query";
    bench.log.service.phase = "service";
    bench.log.origin = bench.log.flushed = now_ns();
    good = warm_bench(&bench, failure);
    if (good && asked.scenario == SERVER)
        good = serve_queries(&bench, failure);
    else if (good && asked.scenario == OFFLINE)
        good = offline(&bench, failure);
    else if (good)
        good = stream(&bench, asked.scenario == MULTI_STREAM ? asked.samples_per_query : 1,
                      failure);
    log_flush(&bench.log);
    if (!good)
        return false;
    trial.threads_after = thread_count();
    put(facts, "\"scenario\":");
    put_string(facts, scenarios[asked.scenario]);
    put(facts, ",\"samples\":");
    put_int(facts, count);
    put(facts, ",\"queries\":");
    put_int(facts, bench.queries);
    put(facts, ",\"stopped_by\":");
    put_string(facts, bench.ended_by);
    put(facts, ",\"elapsed_ns\":");
    put_int(facts, bench.elapsed);
    if (asked.scenario == SERVER) {
        put(facts, ",\"waiting\":");
        put_int(facts, bench.waiting);
    }
    note_memory(&trial, AT_END);
    put(facts, ",");
    put_steps(facts, "memory_peak_bytes", trial.peak);
    put_who_ran(facts, request, &engine, &trial);
    return true;
}
