/* What the machine is: its processors, memory and threads. */

/* The first line of a small file, without its end; false where there is none. */
static bool first_line(const char *path, char *room, size_t size)
{
    FILE *file = fopen(path, "r");
    bool good;
    if (file == NULL)
        return false;
    good = fgets(room, (int)size, file) != NULL;
    fclose(file);
    if (good)
        room[strcspn(room, "\r\n")] = '\0';
    return good && room[0] != '\0';
}

/* The rest of the first line of a file that begins with one of `names`, after its colon. */
static bool line_of(const char *path, const char *const *names, char *room, size_t size)
{
    char line[512];
    bool found = false;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        const char *const *name;
        for (name = names; *name != NULL && !found; name++) {
            const char *value = strchr(line, ':');
            if (strncmp(line, *name, strlen(*name)) != 0 || value == NULL)
                continue;
            value++;
            value += strspn(value, " \t");
            snprintf(room, size, "%.*s", (int)strcspn(value, "\r\n"), value);
            found = true;
        }
    }
    fclose(file);
    return found;
}

/* A line of /proc/self/status in bytes, or -1. */
static int64_t own_memory(const char *name)
{
    const char *const names[] = {name, NULL};
    char value[64];
    if (!line_of("/proc/self/status", names, value, sizeof value))
        return -1;
    return (int64_t)strtoll(value, NULL, 10) * 1024;
}

/* Not ru_maxrss: that one inherits the parent's peak. */
static int64_t peak_memory(void)
{
    return own_memory("VmHWM");
}

/* Threads of this process now, or -1. */
static int64_t thread_count(void)
{
    int64_t count = 0;
    struct dirent *entry;
    DIR *folder = opendir("/proc/self/task");
    if (folder == NULL)
        return -1;
    while ((entry = readdir(folder)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* The smallest step seen between two readings of the clock; looked for once. */
static int64_t clock_resolution(void)
{
    static int64_t smallest;
    int index;
    if (smallest > 0)
        return smallest;
    smallest = NS_PER_S;
    for (index = 0; index < 200; index++) {
        int64_t first = now_ns(), second = now_ns();
        while (second == first)
            second = now_ns();
        if (second - first < smallest)
            smallest = second - first;
    }
    return smallest;
}

static void put_count_or_null(Text *text, int64_t value)
{
    if (value >= 0)
        put_int(text, value);
    else
        put(text, "null");
}

static void put_cores(Text *text)
{
    cpu_set_t cores;
    size_t core;
    bool any = false;
    if (sched_getaffinity(0, sizeof cores, &cores) != 0) {
        put(text, "null");
        return;
    }
    put(text, "[");
    for (core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &cores)) {
            put(text, any ? "," : "");
            put_int(text, (int64_t)core);
            any = true;
        }
    put(text, "]");
}

/* Keep this thread, and all that come after it, to the cores of the request, as far as the system
 * lets it: `cores` of the answer tells what holds. */
static bool keep_to_cores(const Json *request, Failure *failure)
{
    const Json *cores = member(request, "cores"), *core;
    char written[64];
    cpu_set_t chosen;
    bool good;
    if (cores == NULL || cores->type == JSON_NULL)
        return true;
    CPU_ZERO(&chosen);
    good = cores->type == JSON_ARRAY && cores->first != NULL;
    for (core = good ? cores->first : NULL; core != NULL && good; core = core->next) {
        good = core->type == JSON_INT && core->integer >= 0 && core->integer < CPU_SETSIZE;
        if (good)
            CPU_SET((size_t)core->integer, &chosen);
    }
    if (good)
        (void)sched_setaffinity(0, sizeof chosen, &chosen);
    return good || fail(failure, "bad_request", "start", "a list of CPU numbers",
                        "cores is wrong: %s", shown(request, "cores", written, sizeof written));
}

/* The C library by name and version, where it tells: it is asked by name, so that this file
 * builds with any. */
static void describe_libc(char *room, size_t size)
{
    const char *(*glibc)(void) = NULL;
    int (*property)(const char *, char *) = NULL;
    void *program = dlopen(NULL, RTLD_NOW), *found;
    room[0] = '\0';
    if (program == NULL)
        return;
    if ((found = dlsym(program, "gnu_get_libc_version")) != NULL) {
        memcpy(&glibc, &found, sizeof found);
        snprintf(room, size, "glibc %s", glibc());
    } else if ((found = dlsym(program, "__system_property_get")) != NULL) {
        char version[128] = ""; /* PROP_VALUE_MAX is 92 */
        memcpy(&property, &found, sizeof found);
        property("ro.build.version.sdk", version);
        snprintf(room, size, "bionic %s", version);
    }
    dlclose(program);
}
