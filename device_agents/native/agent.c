/* The native agent: runs models with LiteRT and speaks ../PROTOCOL.md, version 1.
 *
 *     agent --library /path/libLiteRt.so [--version-note TEXT]
 *
 * One process serves one request. There are no headers of LiteRT here: the library is loaded
 * with dlopen, its C interface is declared below, and which of its ABIs it has is read from the
 * symbols that it exports, never from a version. Needs a POSIX 2008 system with Linux's /proc,
 * and nothing but libc, libm, libdl and threads; README.md beside this file says how to build.
 *
 * All of it is one translation unit: a file sees those that are included before it, what no
 * file uses is a warning, and the program is built from this one, whatever the compiler.
 */
#define _GNU_SOURCE /* sched_setaffinity, in glibc, musl and bionic alike */

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* a fused multiply-add would round otherwise than NumPy does */
#endif

#define AGENT_VERSION "1"
#define PROTOCOL 1

enum {
    MAX_LINE = 32 * 1024 * 1024,
    MAX_CHUNK = 256 * 1024, /* raw bytes of tensor data in one message */
    MAX_DEPTH = 32,         /* of a request's JSON */
    MAX_NODES = 100000,
    MAX_ID = 4096,
    MAX_NAME = 500, /* of a tensor, as it is sent */
    MAX_TEXT = 2000,
    MAX_RANK = 8,
    MAX_SAMPLE_RANK = 32,
    MAX_TENSORS = 256, /* inputs, and outputs, of a model */
    MAX_OUTPUTS = 16,  /* that one sweep sends */
    MAX_WORKERS = 256,
    MAX_THREADS = 256,
    MAX_OPERATORS = 20000,
    MAX_PROFILED = 1000000, /* times of a profile that are sent one by one */
    BLOCK = 250,           /* samples that a worker takes at a time */
    FLUSH_SAMPLES = 8192,  /* latencies in one message */
};
#define NS_PER_S INT64_C(1000000000)
#define FLUSH_NS (NS_PER_S / 2)

#include "failures.c"
#include "text.c"
#include "json.c"
#include "encodings.c"

#include "litert.c"
#include "machine.c"
#include "conditions.c"

#include "elements.c"
#include "samples.c"
#include "model_file.c"
#include "engine.c"
#include "answers.c"
#include "preprocessing.c"
#include "trial.c"

#include "latency.c"
#include "sustained.c"
#include "sweep.c"
#include "arrivals.c"
#include "queries.c"
#include "scenario.c"
#include "operators.c"

static void *watch_host(void *unused)
{
    char chunk[4096];
    ssize_t got;
    while ((got = read(0, chunk, sizeof chunk)) > 0 || (got < 0 && errno == EINTR))
        ;
    (void)unused;
    _exit(3); /* the host has gone: a cut link leaves no process behind */
}

/* The request line, without its end but with C's; NULL at the end of stdin. */
static char *read_request(size_t *size)
{
    size_t room = 4096;
    char *line = resize(NULL, room, 1), *end = NULL;
    *size = 0;
    while (end == NULL && *size <= MAX_LINE) {
        ssize_t got;
        if (*size + 1 == room) {
            room *= 2;
            line = resize(line, room, 1);
        }
        got = read(0, line + *size, room - *size - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        end = memchr(line + *size, '\n', (size_t)got);
        *size += (size_t)got;
    }
    if (end != NULL)
        *size = (size_t)(end - line);
    line[*size] = '\0';
    return end == NULL && *size == 0 ? NULL : line;
}

typedef bool Action(const Json *, Text *, Failure *);

static const struct {
    const char *name;
    Action *answer;
} actions[] = {{"latency", run_latency},     {"operators", run_operators},
             {"scenario", run_scenario},   {"sustained", run_sustained},
             {"sweep", run_sweep}};

static bool serve(const Failure *problem, Failure *failure)
{
    size_t size, index;
    pthread_t watcher;
    char *line = read_request(&size), room[64];
    const Json *request, *id;
    const char *name;
    int64_t protocol;
    Text facts = {0};
    if (line == NULL)
        return fail(failure, "bad_request", "start", "", "no request came");
    if (pthread_create(&watcher, NULL, watch_host, NULL) != 0)
        return fail(failure, "out_of_memory", "start", "", "no thread can be started");
    if (size >= MAX_LINE)
        return fail(failure, "bad_request", "start", "", "line of more than %d bytes", MAX_LINE);
    request = json_read(line, size);
    if (request == NULL || request->type != JSON_OBJECT)
        return fail(failure, "bad_request", "start", "", "not a JSON %s: %.120s",
                    request == NULL ? "line" : "object", line);
    if (member(request, "protocol") == NULL ||
        !member_int(request, "protocol", 0, PROTOCOL, PROTOCOL, &protocol))
        return fail(failure, "bad_request", "start",
                    "use a host and an agent of the same release",
                    "protocol %s is not spoken here, only %d",
                    shown(request, "protocol", room, sizeof room), PROTOCOL);
    id = member(request, "id");
    if (id != NULL && id->type != JSON_NULL &&
        (id->type != JSON_STRING || strlen(id->text) > MAX_ID))
        return fail(failure, "bad_request", "start", "", "id is no text of at most %d bytes",
                    MAX_ID);
    name = member_text(request, "action");
    if (name != NULL && strcmp(name, "probe") == 0) {
        send_done(request, &facts);
        return true;
    }
    for (index = 0; index < sizeof actions / sizeof *actions; index++) {
        if (name == NULL || strcmp(name, actions[index].name) != 0)
            continue;
        if (problem != NULL) {
            *failure = *problem;
            return false;
        }
        if (!keep_to_cores(request, failure) || !actions[index].answer(request, &facts, failure))
            return false;
        send_done(request, &facts);
        return true;
    }
    return fail(failure, "bad_request", "start",
                "this agent knows: probe, latency, operators, scenario, sustained, sweep",
                "unknown action %s",
                shown(request, "action", room, sizeof room));
}

int main(int count, char **arguments)
{
    Failure problem, failure;
    bool good;
    int index;
    for (index = 1; index + 1 < count; index += 2) {
        if (strcmp(arguments[index], "--library") == 0)
            library_path = arguments[index + 1];
        else if (strcmp(arguments[index], "--version-note") == 0)
            library_version = arguments[index + 1];
        else
            break;
    }
    if (index != count || library_path == NULL) {
        fputs("usage: agent --library /path/libLiteRt.so [--version-note TEXT]\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    protocol_fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
    if (protocol_fd < 0 || dup2(2, 1) < 0) { /* whatever a library prints goes to stderr */
        fputs("agent: stdout or stderr is closed\n", stderr);
        return 2;
    }
    good = open_library(&problem);
    send_hello(good ? NULL : &problem);
    if (!serve(good ? NULL : &problem, &failure)) {
        Text text = {0};
        put_failure(&text, &failure);
        send_line(&text);
        _exit(1);
    }
    _exit(0); /* no destructor of a runtime can turn a finished answer into a crash */
}
