/* The action operators: what LiteRT's profiler tells of each. */

typedef struct {
    char name[120];
    bool delegated;
    uint64_t node, graph;
    int64_t elapsed_us, calls;
} Operator;

typedef struct {
    Operator *list;
    size_t count, at; /* `at`: where the current run has come to */
    int64_t runs;
    int64_t *elapsed; /* ns of each run */
    uint32_t *times;  /* us of each operator in each run, run by run; NULL: too many */
    bool differs;     /* the current run from the first, at `at` */
} Profile;

/* An operator is known by its place in a run: the numbers of a delegate's nodes begin anew in
 * each of its partitions. That only holds as long as every run has the same events. */
static void add_event(Profile *profile, const ProfilerEvent *event, int64_t run)
{
    Operator *operator = &profile->list[profile->at];
    char name[sizeof operator->name];
    if (profile->at == MAX_OPERATORS)
        return;
    snprintf(name, sizeof name, "%s", event->tag);
    if (run == 0) {
        memcpy(operator->name, name, sizeof name);
        operator->delegated =
            event->type != EVENT_OPERATOR || strstr(event->tag, "Delegate") != NULL;
        operator->node = event->node;
        operator->graph = event->extra;
        profile->count++;
    } else if (profile->at == profile->count || operator->node != event->node ||
               operator->graph != event->extra ||
               strcmp(operator->name, name) != 0) {
        profile->differs = true;
        return;
    }
    operator->elapsed_us += (int64_t)event->elapsed_us;
    if (profile->times != NULL)
        profile->times[(size_t)run * profile->count + profile->at] =
            event->elapsed_us < UINT32_MAX ? (uint32_t)event->elapsed_us : UINT32_MAX;
    operator->calls++;
    profile->at++;
}

/* The first run told how many operators there are. */
static void keep_times(Profile *profile)
{
    size_t place;
    if ((int64_t)profile->count > MAX_PROFILED / profile->runs)
        return;
    profile->times = allocate(profile->count * (size_t)profile->runs, sizeof *profile->times);
    for (place = 0; place < profile->count; place++)
        profile->times[place] = profile->list[place].elapsed_us < UINT32_MAX
                                    ? (uint32_t)profile->list[place].elapsed_us
                                    : UINT32_MAX;
}

/* One inference with the profiler on; the first one tells which operators there are. */
static Status profile_run(Engine *engine, Handle profiler, Profile *profile, int64_t index_of_run)
{
    ProfilerEvent *events;
    int count = 0, index;
    int64_t begin;
    Status status = rt.profiler_start(profiler);
    begin = now_ns();
    if (status == STATUS_OK)
        status = run(engine);
    profile->elapsed[index_of_run] = now_ns() - begin;
    rt.profiler_stop(profiler);
    if (status == STATUS_OK)
        status = rt.event_count(profiler, &count);
    if (status != STATUS_OK)
        return status;
    events = allocate((size_t)(count > 0 ? count : 0), sizeof *events);
    if (count > 0)
        status = rt.events(profiler, count, events);
    profile->at = 0;
    for (index = 0; index < count && status == STATUS_OK && !profile->differs; index++)
        if (events[index].tag != NULL &&
            (events[index].type == EVENT_OPERATOR || events[index].type == EVENT_DELEGATE ||
             events[index].type == EVENT_DELEGATE_PROFILED))
            add_event(profile, &events[index], index_of_run);
    profile->differs |= profile->at < profile->count;
    free(events);
    if (index_of_run == 0 && status == STATUS_OK)
        keep_times(profile);
    return status;
}

static void send_operators(const Profile *profile)
{
    Text text = {0};
    size_t index;
    int64_t run;
    put(&text, "{\"type\":\"operators\",\"unit\":\"ns\",\"resolution_ns\":1000,\"runs\":");
    put_int(&text, profile->runs);
    put(&text, ",\"elapsed\":[");
    for (run = 0; run < profile->runs; run++) {
        put(&text, run > 0 ? "," : "");
        put_int(&text, profile->elapsed[run]);
    }
    put(&text, "],\"operators\":[");
    for (index = 0; index < profile->count; index++) {
        const Operator *operator = &profile->list[index];
        put(&text, index > 0 ? ",{\"name\":" : "{\"name\":");
        put_string(&text, operator->name);
        put(&text, ",\"node\":");
        put_count_or_null(&text, operator->delegated ? -1 : (int64_t)operator->node);
        put(&text, ",\"graph\":");
        put_int(&text, (int64_t)operator->graph);
        put(&text, ",\"time\":");
        put_int(&text, operator->elapsed_us * 1000);
        for (run = 0; profile->times != NULL && run < profile->runs; run++) {
            put(&text, run > 0 ? "," : ",\"times\":[");
            put_int(&text, profile->times[(size_t)run * profile->count + index] * INT64_C(1000));
        }
        put(&text, profile->times != NULL ? "],\"calls\":" : ",\"calls\":");
        put_int(&text, operator->calls);
        put(&text, operator->delegated ? ",\"delegated\":true}" : ",\"delegated\":false}");
    }
    put(&text, "]}");
    send_line(&text);
    free(text.data);
}

static bool run_operators(const Json *request, Text *facts, Failure *failure)
{
    Limits limits;
    Engine engine;
    Profile profile = {0};
    Handle profiler = NULL;
    Status status = STATUS_OK;
    int64_t done, begin;
    if (!read_limits(request, "operators", &limits, failure))
        return false;
    if (!member_int(request, "runs", 50, 1, 100000, &profile.runs))
        return fail(failure, "bad_request", "operators", "", "runs is wrong");
    if (rt.profiler == NULL || rt.profiler_start == NULL || rt.profiler_stop == NULL ||
        rt.event_count == NULL || rt.events == NULL)
        return fail(failure, "unsupported", "operators", "", "this LiteRT has no profiler");
    if (!load(request, NULL, true, &engine, failure))
        return false;
    send_loaded(&engine);
    if (!feed_first(request, &engine, "operators", failure))
        return false;
    if (rt.profiler(engine.compiled, &profiler) != STATUS_OK || profiler == NULL)
        return fail(failure, "unsupported", "operators", "", "this LiteRT gives no profiler");
    begin = now_ns();
    done = 0;
    if (has_warm_up(&limits))
        do {
            tell_progress();
            status = run(&engine);
        } while (status == STATUS_OK && end_of(&limits.warm_up, ++done, begin, now_ns()) == NULL);
    profile.list = allocate(MAX_OPERATORS, sizeof *profile.list);
    profile.elapsed = allocate((size_t)profile.runs, sizeof *profile.elapsed);
    for (done = 0; status == STATUS_OK && !profile.differs && done < profile.runs; done++) {
        tell_progress();
        status = profile_run(&engine, profiler, &profile, done);
    }
    if (status != STATUS_OK)
        return invoke_failed("operators", status, failure);
    if (profile.differs)
        return fail(failure, "invoke_failed", "operators", "",
                    "run %" PRId64 " had other operators than the first from place %zu on", done,
                    profile.at);
    send_operators(&profile);
    put(facts, "\"memory_peak_bytes\":{\"end\":");
    put_count_or_null(facts, peak_memory());
    put(facts, "}");
    put_engine_facts(facts, &engine);
    return true;
}
