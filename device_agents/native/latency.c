/* The action latency: timed inferences, in phases. */

/* What ends a phase: both minima, or a maximum (of seconds: 0 is none). */
typedef struct {
    int64_t min_runs, max_runs;
    double min_seconds, max_seconds;
} Bounds;

typedef struct {
    Bounds warm_up, measure;
    double steady_within; /* 0: the minima end the warm-up */
    double steady_seconds; /* how long after its beginning steadiness is waited for */
} Limits;

static bool read_limits(const Json *request, const char *stage, Limits *limits, Failure *failure)
{
    const struct {
        const char *name;
        int64_t *runs;
        double *seconds;
        double fallback;
    } wanted[] = {
        {"warmup_runs", &limits->warm_up.min_runs, NULL, 1},
        {"warmup_seconds", NULL, &limits->warm_up.min_seconds, 0.5},
        {"warmup_max_seconds", NULL, &limits->steady_seconds, 5.0},
        {"steady_within", NULL, &limits->steady_within, 0},
        {"min_runs", &limits->measure.min_runs, NULL, 50},
        {"min_seconds", NULL, &limits->measure.min_seconds, 1.0},
        {"max_runs", &limits->measure.max_runs, NULL, 100000},
        {"max_seconds", NULL, &limits->measure.max_seconds, 150.0},
    };
    size_t index;
    for (index = 0; index < sizeof wanted / sizeof *wanted; index++) {
        const Json *value = member(request, wanted[index].name);
        char room[64];
        bool good = value == NULL || value->type == JSON_INT ||
                    (value->type == JSON_REAL && wanted[index].seconds != NULL);
        if (!good || (value != NULL && value->real < 0))
            return fail(failure, "bad_request", stage, "", "%s is wrong: %s", wanted[index].name,
                        shown(request, wanted[index].name, room, sizeof room));
        if (wanted[index].runs != NULL)
            *wanted[index].runs = value != NULL ? value->integer : (int64_t)wanted[index].fallback;
        else
            *wanted[index].seconds = value != NULL ? value->real : wanted[index].fallback;
    }
    limits->warm_up.max_seconds = limits->measure.max_seconds;
    limits->warm_up.max_runs = limits->measure.max_runs > limits->warm_up.min_runs
                                   ? limits->measure.max_runs
                                   : limits->warm_up.min_runs;
    return true;
}

static int64_t later(int64_t begin, double seconds)
{
    return seconds > 4e9 ? INT64_MAX : begin + (int64_t)(seconds * 1e9);
}

#define STEADY_MOST 3000 /* samples looked at, spread evenly over the whole warm-up */
#define STEADY_FIRST 10  /* runs before the first test */
#define STEADY_FEWEST 6  /* runs without which nothing can be told, */
#define UNSTEADY_FEWEST 18 /* or nothing but that it is steady */

/* When a warm-up has done its work: see PROTOCOL.md, and warmup.py of the Python agent. */
typedef struct {
    double within, resolution, seconds;
    int64_t kept[STEADY_MOST];
    size_t count;
    int64_t every, runs, next;
} Steadiness;

static void steadiness_add(Steadiness *steadiness, int64_t duration)
{
    size_t index;
    if (steadiness->runs++ % steadiness->every != 0)
        return;
    steadiness->kept[steadiness->count++] = duration;
    if (steadiness->count < STEADY_MOST)
        return;
    for (index = 0; 2 * index < STEADY_MOST; index++)
        steadiness->kept[index] = steadiness->kept[2 * index];
    steadiness->count = index;
    steadiness->every *= 2;
}

static int by_size(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return a < b ? -1 : a > b;
}

static double median_of(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* The median and the square of its standard error by the median absolute deviation. */
static double median_and_error(const int64_t *from, size_t count, double *square)
{
    double room[STEADY_MOST / 3], median, error;
    size_t index;
    for (index = 0; index < count; index++)
        room[index] = (double)from[index];
    median = median_of(room, count);
    for (index = 0; index < count; index++)
        room[index] = room[index] < median ? median - room[index] : room[index] - median;
    error = 1.2533 * 1.4826 * median_of(room, count);
    *square = error * error / (double)count;
    return median;
}

/* Whether the last third has the median of the third before, 1 or 0; -1: cannot be told. */
static int steadiness_found(const Steadiness *steadiness)
{
    size_t third = steadiness->count / 3;
    const int64_t *end = steadiness->kept + steadiness->count;
    double last, before, last_square, before_square, square, apart, allowed;
    if (steadiness->runs < STEADY_FEWEST)
        return -1;
    last = median_and_error(end - third, third, &last_square);
    before = median_and_error(end - 2 * third, third, &before_square);
    apart = last < before ? before - last : last - before;
    allowed = steadiness->within * last;
    allowed = allowed > steadiness->resolution ? allowed : steadiness->resolution;
    square = last_square + before_square;
    if (apart <= allowed || apart * apart <= 4 * square)
        return 1;
    return steadiness->runs >= UNSTEADY_FEWEST && apart * apart > 16 * square ? 0 : -1;
}

/* Asked after every run; tests each time the runs grew by a quarter. */
static bool steadiness_reached(Steadiness *steadiness)
{
    if (steadiness->runs < steadiness->next)
        return false;
    steadiness->next = steadiness->runs + (steadiness->runs + 3) / 4;
    return steadiness_found(steadiness) > 0;
}

/* Times inferences and sends what it timed, in bunches between them. */
typedef struct {
    Engine *engine;
    const char *phase;
    int64_t origin;
    int64_t *starts, *durations;
    size_t count;
    int64_t runs; /* of the phase that ended last */
    Text text;
} Recorder;

static void recorder_flush(Recorder *recorder)
{
    Text *text = &recorder->text;
    size_t index;
    if (recorder->count == 0)
        return;
    put(text, "{\"type\":\"samples\",\"unit\":\"ns\",\"phase\":");
    put_string(text, recorder->phase);
    put(text, ",\"at\":[");
    for (index = 0; index < recorder->count; index++) {
        put(text, index > 0 ? "," : "");
        put_int(text, recorder->starts[index] - recorder->origin);
    }
    put(text, "],\"values\":[");
    for (index = 0; index < recorder->count; index++) {
        put(text, index > 0 ? "," : "");
        put_int(text, recorder->durations[index]);
    }
    put(text, "]}");
    send_line(text);
    recorder->count = 0;
}

static void recorder_open(Recorder *recorder, Engine *engine)
{
    memset(recorder, 0, sizeof *recorder);
    recorder->engine = engine;
    recorder->starts = allocate(FLUSH_SAMPLES, sizeof(int64_t));
    recorder->durations = allocate(FLUSH_SAMPLES, sizeof(int64_t));
    recorder->origin = now_ns();
}

static bool has_warm_up(const Limits *limits)
{
    return limits->warm_up.min_runs > 0 || limits->warm_up.min_seconds > 0;
}

/* The bound that ends a phase of so many runs since `begin`; NULL where it goes on. */
static const char *end_of(const Bounds *bounds, int64_t runs, int64_t begin, int64_t now)
{
    if (runs >= bounds->min_runs && now >= later(begin, bounds->min_seconds))
        return "enough";
    if (runs >= bounds->max_runs)
        return "max_runs";
    return bounds->max_seconds > 0 && now >= later(begin, bounds->max_seconds) ? "max_seconds"
                                                                                : NULL;
}

/* As end_of, but after the minima on until it is steady or was waited for long enough. */
static const char *end_of_warm_up(const Bounds *bounds, Steadiness *steadiness, int64_t begin,
                                  int64_t now)
{
    const char *end = end_of(bounds, steadiness->runs, begin, now);
    if (end != NULL && strcmp(end, "enough") == 0) {
        Bounds rest = *bounds;
        if (steadiness_reached(steadiness))
            return "steady";
        if (now >= later(begin, steadiness->seconds))
            return "max_seconds";
        rest.min_runs = INT64_MAX;
        return end_of(&rest, steadiness->runs, begin, now);
    }
    return end;
}

/* Infer until a bound ends it; `ended_by` says which. Only a warm-up has `steadiness`. */
static bool measure(Recorder *recorder, const char *phase, Bounds bounds, Steadiness *steadiness,
                    const char **ended_by, Failure *failure)
{
    Engine *engine = recorder->engine;
    int64_t begin = now_ns(), flushed = begin, runs = 0;
    recorder->phase = phase;
    for (;;) {
        int64_t start = now_ns();
        Status status = run(engine);
        int64_t stop = now_ns();
        if (status != STATUS_OK) {
            recorder_flush(recorder);
            return invoke_failed("latency", status, failure);
        }
        recorder->starts[recorder->count] = start;
        recorder->durations[recorder->count++] = stop - start;
        runs++;
        if (steadiness != NULL) {
            steadiness_add(steadiness, stop - start);
            *ended_by = end_of_warm_up(&bounds, steadiness, begin, stop);
        } else {
            *ended_by = end_of(&bounds, runs, begin, stop);
        }
        if (*ended_by != NULL)
            break;
        if (stop - flushed >= FLUSH_NS || recorder->count == FLUSH_SAMPLES) {
            recorder_flush(recorder);
            flushed = now_ns();
        }
    }
    recorder_flush(recorder);
    recorder->runs = runs;
    return true;
}

/* Up to the minima and on until it is steady, or a bound; writes the fact `warmup`. */
static bool warm_up(Recorder *recorder, const Limits *limits, Text *facts, Failure *failure)
{
    static Steadiness steadiness;
    const char *ended_by = "enough";
    bool tested = limits->steady_within > 0;
    int steady = -1;
    recorder->runs = 0;
    if (has_warm_up(limits)) {
        steadiness.within = limits->steady_within;
        steadiness.seconds = limits->steady_seconds;
        steadiness.resolution = tested ? (double)clock_resolution() : 0;
        steadiness.every = 1;
        steadiness.next = STEADY_FIRST;
        if (!measure(recorder, "warmup", limits->warm_up, tested ? &steadiness : NULL, &ended_by,
                     failure))
            return false;
        steady = tested ? steadiness_found(&steadiness) : -1;
    }
    put(facts, "\"warmup\":{\"steady\":");
    put(facts, steady < 0 ? "null" : steady > 0 ? "true" : "false");
    put(facts, ",\"runs\":");
    put_int(facts, recorder->runs);
    put(facts, ",\"reason\":");
    put_string(facts, strcmp(ended_by, "enough") == 0 ? "minimum" : ended_by);
    put(facts, "},");
    return true;
}

static bool run_latency(const Json *request, Text *facts, Failure *failure)
{
    Limits limits;
    Engine engine;
    Recorder recorder;
    const char *ended_by;
    Trial trial;
    if (!read_limits(request, "latency", &limits, failure))
        return false;
    if (!load_for_trial(request, &engine, &trial, failure))
        return false;
    if (!feed_first(request, &engine, "latency", failure))
        return false;
    recorder_open(&recorder, &engine);
    if (!measure(&recorder, "first", (Bounds){.max_runs = 1}, NULL, &ended_by, failure))
        return false;
    trial.threads_after = thread_count();
    if (!warm_up(&recorder, &limits, facts, failure))
        return false;
    note_conditions(&trial, now_ns() - recorder.origin);
    if (!measure(&recorder, "measure", limits.measure, NULL, &ended_by, failure))
        return false;
    note_conditions(&trial, now_ns() - recorder.origin);
    put(facts, "\"stopped_by\":");
    put_string(facts, ended_by);
    put(facts, ",");
    put_trial(facts, request, &engine, &trial);
    return true;
}
