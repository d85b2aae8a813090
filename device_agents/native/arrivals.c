/* What MLPerf's scenarios ask for, and when their queries arrive: see ../PROTOCOL.md. */

enum { MAX_QUERIES = 1000 * 1000, MAX_SAMPLES_PER_QUERY = 1024 };
#define LEISURE_NS (INT64_C(20) * 1000 * 1000) /* a wait in which there is time to send */
#define AWAKE_NS (INT64_C(100) * 1000)         /* a sleep ends late: the last bit is none */

typedef enum { SINGLE_STREAM, MULTI_STREAM, OFFLINE, SERVER, SCENARIOS } Scenario;
static const char *const scenarios[] = {"single_stream", "multi_stream", "offline", "server"};

typedef struct {
    Scenario scenario;
    int64_t samples_per_query, warmup_runs, min_queries, seed;
    double target_qps, latency_bound_ms, warmup_seconds, min_seconds, max_seconds;
    bool loadgen;
} Asked;

/* Times when queries arrive, in whole ns. No logarithm is taken, which C libraries round
 * differently: the exponential distribution comes of comparisons (J. von Neumann, 1951) of
 * numbers of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
typedef struct {
    uint64_t state;
    double mean; /* ns between two */
    int64_t at;  /* of the next */
} Arrivals;

static uint64_t draw(Arrivals *arrivals)
{
    uint64_t value = arrivals->state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return (value ^ value >> 31) >> 11;
}

static double exponential(Arrivals *arrivals)
{
    double steps = 0;
    for (;; steps++) {
        uint64_t first = draw(arrivals), last = first, next;
        unsigned length = 1;
        for (; (next = draw(arrivals)) <= last; last = next)
            length++;
        if (length % 2 == 1)
            return steps + (double)first * 0x1p-53;
    }
}

static int64_t next_arrival(Arrivals *arrivals)
{
    int64_t at = arrivals->at;
    double gap = exponential(arrivals) * arrivals->mean;
    arrivals->at += (int64_t)gap;
    return at;
}
