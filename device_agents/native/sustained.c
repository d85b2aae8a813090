/* The action sustained: minutes under load. Of an interval every `stride`-th duration is kept, the
 * stride doubled each time twice `trace_samples` are: see sustained.py of the Python agent for
 * why. */

enum { MAX_TRACE_SAMPLES = 4096 };

typedef struct {
    double seconds, idle_seconds, trace_seconds;
    int64_t trace_samples;
} Load;

static bool read_load(const Json *request, Load *load, Failure *failure)
{
    const struct {
        const char *name;
        double *seconds, low, high;
    } wanted[] = {
        {"seconds", &load->seconds, 0.01, 86400},
        {"idle_seconds", &load->idle_seconds, 0, 3600},
        {"trace_seconds", &load->trace_seconds, 0.01, 60},
        {"trace_samples", NULL, 1, MAX_TRACE_SAMPLES},
    };
    size_t index;
    *load = (Load){300, 0, 1, 200};
    for (index = 0; index < sizeof wanted / sizeof *wanted; index++) {
        const Json *value = member(request, wanted[index].name);
        char room[64];
        if (value == NULL)
            continue;
        if (!(value->type == JSON_INT ||
              (value->type == JSON_REAL && wanted[index].seconds != NULL)) ||
            value->real < wanted[index].low || value->real > wanted[index].high)
            return fail(failure, "bad_request", "sustained", "", "%s is wrong: %s",
                        wanted[index].name,
                        shown(request, wanted[index].name, room, sizeof room));
        if (wanted[index].seconds != NULL)
            *wanted[index].seconds = value->real;
        else
            load->trace_samples = value->integer;
    }
    return true;
}

typedef struct {
    Zones zones;
    int64_t origin;
    Text text;
} Trace;

static void send_trace(Trace *trace, const char *phase, const char *unit, const int64_t *starts,
                       const int64_t *values, size_t count)
{
    Text *text = &trace->text;
    size_t index;
    put(text, "{\"type\":\"samples\",\"phase\":\"");
    put(text, phase);
    put(text, "\",\"unit\":\"");
    put(text, unit);
    put(text, "\",\"at\":[");
    for (index = 0; index < count; index++) {
        put(text, index > 0 ? "," : "");
        put_int(text, starts[index] - trace->origin);
    }
    put(text, "],\"values\":[");
    for (index = 0; index < count; index++) {
        put(text, index > 0 ? "," : "");
        put_int(text, values[index]);
    }
    put(text, "]}");
    send_line(text);
}

/* What the sensors say now, between two intervals. */
static void read_sensors(Trace *trace)
{
    int64_t at = now_ns(), value = hottest_millidegrees(&trace->zones);
    double khz = mean_khz("scaling_cur_freq");
    if (value != NO_TEMPERATURE)
        send_trace(trace, "temperature", "m\xc2\xb0" "C", &at, &value, 1);
    value = (int64_t)(khz + 0.5);
    if (khz >= 0)
        send_trace(trace, "frequency", "kHz", &at, &value, 1);
}

/* Do nothing but look at the sensors. */
static void rest(Trace *trace, const Load *load)
{
    int64_t end = later(now_ns(), load->idle_seconds), start;
    while ((start = now_ns()) < end) {
        int64_t until = later(start, load->trace_seconds), slept;
        until = until < end ? until : end;
        while ((slept = until - now_ns()) > 0) {
            struct timespec left = {(time_t)(slept / NS_PER_S), (long)(slept % NS_PER_S)};
            nanosleep(&left, NULL);
        }
        slept = now_ns() - start;
        send_trace(trace, "idle", "ns", &start, &slept, 1);
        read_sensors(trace);
    }
}

/* Infer without a pause but for the sensors, until the time is over. */
static Status keep_busy(Trace *trace, const Load *load, Engine *engine)
{
    const size_t most = 2 * (size_t)load->trace_samples;
    int64_t *starts = allocate(most, sizeof *starts), *durations = allocate(most, sizeof *starts);
    int64_t end = later(now_ns(), load->seconds), begin;
    Status status = STATUS_OK;
    while (status == STATUS_OK && (begin = now_ns()) < end) {
        int64_t enough = later(begin, load->trace_seconds), stop = begin, runs = 0, mask = 0;
        size_t kept = 0, index;
        enough = enough < end ? enough : end;
        while (stop < enough) {
            int64_t start = now_ns();
            status = run(engine);
            stop = now_ns();
            if (status != STATUS_OK)
                break;
            if ((runs++ & mask) != 0)
                continue;
            starts[kept] = start;
            durations[kept++] = stop - start;
            if (kept == most) {
                for (index = 0, kept = most / 2; index < kept; index++) {
                    starts[index] = starts[2 * index];
                    durations[index] = durations[2 * index];
                }
                mask = 2 * mask + 1;
            }
        }
        if (runs == 0)
            break;
        stop -= begin;
        send_trace(trace, "sustained", "ns", starts, durations, kept);
        send_trace(trace, "interval", "ns", &begin, &stop, 1);
        send_trace(trace, "runs", "count", &begin, &runs, 1);
        read_sensors(trace);
    }
    free(starts);
    free(durations);
    return status;
}

static bool run_sustained(const Json *request, Text *facts, Failure *failure)
{
    Load wanted;
    Engine engine;
    Trace trace = {.origin = 0};
    Trial trial;
    Status status;
    int64_t start, first;
    if (!read_load(request, &wanted, failure))
        return false;
    if (!load_for_trial(request, &engine, &trial, failure))
        return false;
    if (!feed_first(request, &engine, "sustained", failure))
        return false;
    find_zones(&trace.zones);
    trace.origin = now_ns();
    read_sensors(&trace);
    rest(&trace, &wanted);
    note_conditions(&trial, now_ns() - trace.origin);
    start = now_ns();
    status = run(&engine);
    first = now_ns() - start;
    if (status != STATUS_OK)
        return invoke_failed("sustained", status, failure);
    send_trace(&trace, "first", "ns", &start, &first, 1);
    trial.threads_after = thread_count();
    status = keep_busy(&trace, &wanted, &engine);
    if (status != STATUS_OK)
        return invoke_failed("sustained", status, failure);
    note_conditions(&trial, now_ns() - trace.origin);
    put_trial(facts, request, &engine, &trial);
    return true;
}
