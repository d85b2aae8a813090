/* Queries sent and answered as one of MLPerf's scenarios wants it, and what was timed of them. */

/* What was timed of a phase; `sent` of it have left. */
typedef struct {
    const char *phase;
    int64_t *starts, *durations;
    size_t count, room, sent;
} Series;

typedef struct {
    Series first, warm_up, query, service;
    int64_t origin, flushed;
    Text text;
} Log;

static void series_add(Series *series, int64_t start, int64_t duration)
{
    if (series->count == series->room) {
        series->room = series->room > 0 ? 2 * series->room : FLUSH_SAMPLES;
        series->starts = resize(series->starts, series->room, sizeof(int64_t));
        series->durations = resize(series->durations, series->room, sizeof(int64_t));
    }
    series->starts[series->count] = start;
    series->durations[series->count++] = duration;
}

static void series_send(Log *log, Series *series, size_t most)
{
    Text *text = &log->text;
    size_t end = series->count - series->sent < most ? series->count : series->sent + most, index;
    if (end == series->sent)
        return;
    put(text, "{\"type\":\"samples\",\"unit\":\"ns\",\"phase\":");
    put_string(text, series->phase);
    put(text, ",\"at\":[");
    for (index = series->sent; index < end; index++) {
        put(text, index > series->sent ? "," : "");
        put_int(text, series->starts[index] - log->origin);
    }
    put(text, "],\"values\":[");
    for (index = series->sent; index < end; index++) {
        put(text, index > series->sent ? "," : "");
        put_int(text, series->durations[index]);
    }
    put(text, "]}");
    send_line(text);
    series->sent = end;
}

static void log_flush(Log *log)
{
    Series *all[] = {&log->first, &log->warm_up, &log->query, &log->service};
    size_t index;
    for (index = 0; index < sizeof all / sizeof *all; index++)
        while (all[index]->sent < all[index]->count)
            series_send(log, all[index], FLUSH_SAMPLES);
}

/* Between two queries: what there is, if it was not sent just now. */
static void log_flush_now_and_then(Log *log, size_t most)
{
    if (now_ns() - log->flushed < FLUSH_NS)
        return;
    series_send(log, &log->warm_up, most);
    series_send(log, &log->query, most);
    series_send(log, &log->service, most);
    log->flushed = now_ns();
}

typedef struct {
    const Asked *asked;
    Engine *engine;
    Samples samples;
    Prepare prepare;
    size_t count; /* of samples that are used, in turn */
    Log log;
    int64_t queries, waiting, elapsed;
    const char *ended_by;
} Bench;

/* Write one sample into the input and run the model. */
static bool answer(Bench *bench, int64_t sample, Failure *failure)
{
    const Samples *samples = &bench->samples;
    const unsigned char *from = samples->data + (size_t)sample % bench->count * samples->row;
    Status status;
    if (!feed(bench->engine, &bench->engine->inputs[0], &bench->prepare, from))
        return fail(failure, "invoke_failed", "scenario", "", "the input cannot be written");
    status = run(bench->engine);
    return status == STATUS_OK || invoke_failed("scenario", status, failure);
}

static bool time_one(Bench *bench, Series *series, Failure *failure)
{
    int64_t start = now_ns();
    if (!answer(bench, 0, failure))
        return false;
    series_add(series, start, now_ns() - start);
    return true;
}

static bool warm_bench(Bench *bench, Failure *failure)
{
    const Asked *asked = bench->asked;
    int64_t begin = now_ns(), enough = later(begin, asked->warmup_seconds);
    int64_t deadline = later(begin, asked->max_seconds), runs = 0;
    if (!time_one(bench, &bench->log.first, failure))
        return false;
    log_flush(&bench->log);
    while ((runs < asked->warmup_runs || now_ns() < enough) && now_ns() < deadline &&
           runs < MAX_QUERIES) {
        if (!time_one(bench, &bench->log.warm_up, failure))
            return false;
        runs++;
        log_flush_now_and_then(&bench->log, FLUSH_SAMPLES);
    }
    log_flush(&bench->log);
    return true;
}

/* What ends the queries; NULL where they go on. */
static const char *end_of_queries(const Asked *asked, int64_t queries, bool long_enough, bool late)
{
    if (queries >= asked->min_queries && long_enough)
        return "enough";
    if (queries >= MAX_QUERIES)
        return "max_queries";
    return late ? "max_seconds" : NULL;
}

/* A query of `one` samples as soon as the one before was answered. */
static bool stream(Bench *bench, int64_t one, Failure *failure)
{
    const Asked *asked = bench->asked;
    int64_t begin = now_ns(), enough = later(begin, asked->min_seconds);
    int64_t deadline = later(begin, asked->max_seconds), sample = 0, index, stop;
    int64_t start = begin; /* one reading, or the queries would span less than was asked for */
    do {
        for (index = 0; index < one; index++)
            if (!answer(bench, sample++, failure))
                return false;
        stop = now_ns();
        series_add(&bench->log.query, start, stop - start);
        log_flush_now_and_then(&bench->log, FLUSH_SAMPLES);
        tell_progress();
        bench->ended_by =
            end_of_queries(asked, ++bench->queries, start >= enough, stop >= deadline);
        start = now_ns();
    } while (bench->ended_by == NULL);
    bench->elapsed = stop - begin;
    return true;
}

/* One query of as many samples as both minima need; each is timed since the query. */
static bool offline(Bench *bench, Failure *failure)
{
    const Asked *asked = bench->asked;
    int64_t begin = now_ns(), enough = later(begin, asked->min_seconds);
    int64_t deadline = later(begin, asked->max_seconds), stop;
    do {
        if (!answer(bench, bench->queries, failure))
            return false;
        stop = now_ns();
        series_add(&bench->log.query, begin, stop - begin);
        tell_progress();
        bench->ended_by =
            end_of_queries(asked, ++bench->queries, stop >= enough, stop >= deadline);
    } while (bench->ended_by == NULL);
    bench->elapsed = stop - begin;
    return true;
}

static void sleep_until(int64_t when)
{
    int64_t until = when - AWAKE_NS;
    struct timespec time = {.tv_sec = (time_t)(until / NS_PER_S),
                            .tv_nsec = (long)(until % NS_PER_S)};
    if (until > now_ns())
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
            ;
    while (now_ns() < when)
        ;
}

/* Until a query arrives, sending what there is time for; false where time is up before. */
static bool wait_for(Log *log, int64_t arrival, int64_t deadline)
{
    int64_t now;
    while ((now = now_ns()) < arrival) {
        if (arrival > deadline)
            return false;
        if (arrival - now > LEISURE_NS) {
            log_flush_now_and_then(log, 1024);
            tell_progress();
        }
        sleep_until(arrival - now < NS_PER_S / 2 ? arrival : now + NS_PER_S / 2);
    }
    return true;
}

/* Queries of one sample at times drawn from the seed, answered in order of arrival: latencies
 * count from the arrival, so the time in the queue is in them. */
static bool serve_queries(Bench *bench, Failure *failure)
{
    const Asked *asked = bench->asked;
    Arrivals arrivals = {(uint64_t)asked->seed, 1e9 / asked->target_qps, 0};
    int64_t begin = now_ns(), deadline = later(begin, asked->max_seconds);
    int64_t enough = later(0, asked->min_seconds), offset = 0;
    while (bench->ended_by == NULL) {
        int64_t start, stop, arrival;
        offset = next_arrival(&arrivals);
        arrival = begin + offset;
        if (!wait_for(&bench->log, arrival, deadline)) {
            bench->ended_by = "max_seconds";
            bench->elapsed = now_ns() - begin;
            return true;
        }
        start = now_ns();
        if (!answer(bench, bench->queries, failure))
            return false;
        stop = now_ns();
        series_add(&bench->log.query, arrival, stop - arrival);
        series_add(&bench->log.service, start, stop - start);
        tell_progress();
        bench->ended_by =
            end_of_queries(asked, ++bench->queries, offset >= enough, stop >= deadline);
        bench->elapsed = stop - begin;
    }
    /* Those that were to be answered, have arrived, and were not. */
    while (end_of_queries(asked, bench->queries + bench->waiting, offset >= enough, false) ==
               NULL &&
           (offset = next_arrival(&arrivals)) <= bench->elapsed)
        bench->waiting++;
    return true;
}
