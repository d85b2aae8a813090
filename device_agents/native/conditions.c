/* What the machine tells of its load, clock and heat. The Python agent reads the same files the
 * same way: see conditions.py there. */

/* A line that is one integer of `low` to `high`; false for any other. */
static bool whole_number(const char *line, int64_t low, int64_t high, int64_t *value)
{
    const char *digits;
    size_t count;
    line += strspn(line, " \t");
    digits = line + (*line == '-');
    count = strspn(digits, "0123456789");
    if (count < 1 || count > 16 || digits[count + strspn(digits + count, " \t")] != '\0')
        return false;
    *value = (int64_t)strtoll(line, NULL, 10);
    return low <= *value && *value <= high;
}

/* The mean over the cores that this process may use of a file of their cpufreq, kHz; -1 where
 * none tells. */
static double mean_khz(const char *name)
{
    char path[128], line[256];
    double sum = 0;
    int64_t khz;
    int core, known = 0;
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) != 0)
        return -1;
    for (core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET((size_t)core, &cores))
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/%s", core, name);
        if (first_line(path, line, sizeof line) && whole_number(line, 1, 100000000, &khz)) {
            sum += (double)khz;
            known++;
        }
    }
    return known > 0 ? sum / known : -1;
}

/* Whether a thermal zone of this type is of the processor: others are of batteries, modems and
 * cameras. */
static bool of_processor(const char *type)
{
    static const char *const words[] = {"cpu",   "soc", "core",    "x86_pkg",
                                        "tsens", "apc", "cluster", NULL};
    const char *at, *const *word;
    if (strncasecmp(type, "big", 3) == 0 || strncasecmp(type, "little", 6) == 0)
        return true;
    for (at = type; *at != '\0'; at++) {
        for (word = words; *word != NULL; word++)
            if (strncasecmp(at, *word, strlen(*word)) == 0)
                return true;
        if (strncasecmp(at, "bcm2", 4) == 0 && isdigit((unsigned char)at[4]))
            return true;
    }
    return false;
}

enum { NO_TEMPERATURE = INT_MIN, MAX_ZONES = 256, MAX_ZONE_NAME = 32 };

/* A zone's temperature in thousandths of a degree: the kernel gives those, some boards whole
 * degrees, and sensors that are switched off what no sensor can say. */
static int zone_millidegrees(const char *zone)
{
    char path[128], line[256];
    int64_t value;
    snprintf(path, sizeof path, "/sys/class/thermal/%s/temp", zone);
    if (!first_line(path, line, sizeof line) || !whole_number(line, -100000, 200000, &value))
        return NO_TEMPERATURE;
    value = value > 200 || value < -200 ? value : value * 1000;
    return -40000 < value && value < 150000 && value != 0 ? (int)value : NO_TEMPERATURE;
}

/* The zones that say how hot the processor is: its own where any is, else all. */
typedef struct {
    char names[MAX_ZONES][MAX_ZONE_NAME];
    int count;
} Zones;

static void find_zones(Zones *zones)
{
    Zones others = {.count = 0};
    struct dirent *entry;
    char path[128], type[256];
    DIR *folder = opendir("/sys/class/thermal");
    zones->count = 0;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        Zones *to;
        if (strncmp(entry->d_name, "thermal_zone", 12) != 0 ||
            strlen(entry->d_name) >= MAX_ZONE_NAME)
            continue;
        snprintf(path, sizeof path, "/sys/class/thermal/%.*s/type", MAX_ZONE_NAME, entry->d_name);
        to = first_line(path, type, sizeof type) && of_processor(type) ? zones : &others;
        if (zone_millidegrees(entry->d_name) != NO_TEMPERATURE && to->count < MAX_ZONES)
            snprintf(to->names[to->count++], MAX_ZONE_NAME, "%.*s", MAX_ZONE_NAME - 1,
                     entry->d_name);
    }
    if (folder != NULL)
        closedir(folder);
    if (zones->count == 0)
        *zones = others;
}

static int hottest_millidegrees(const Zones *zones)
{
    int index, hottest = NO_TEMPERATURE;
    for (index = 0; index < zones->count; index++) {
        int found = zone_millidegrees(zones->names[index]);
        hottest = found > hottest ? found : hottest;
    }
    return hottest;
}

/* CPU time in user and kernel mode of everything, seconds, see proc_stat(5); -1 where it is not
 * told. Time in guests stands in user's already; stolen time is nobody's here. */
static double busy_seconds(void)
{
    char line[256], *end;
    uint64_t field[7];
    long ticks = sysconf(_SC_CLK_TCK);
    int index;
    if (ticks <= 0 || !first_line("/proc/stat", line, sizeof line) ||
        strncmp(line, "cpu ", 4) != 0)
        return -1;
    end = line + 3;
    for (index = 0; index < 7; index++) { /* user, nice, system, idle, iowait, irq, softirq */
        const char *at = end + strspn(end, " ");
        if (!isdigit((unsigned char)*at))
            return -1;
        field[index] = strtoull(at, &end, 10);
    }
    return (double)(field[0] + field[1] + field[2] + field[5] + field[6]) / (double)ticks;
}

static void put_real_or_null(Text *text, double value, bool known)
{
    if (known)
        put_real(text, value);
    else
        put(text, "null");
}

/* The `conditions` of PROTOCOL.md at this moment. */
static void put_conditions(Text *text, int64_t at)
{
    Zones zones;
    struct rusage usage;
    struct timespec own;
    double busy = busy_seconds(), khz = mean_khz("scaling_cur_freq"),
           most = mean_khz("cpuinfo_max_freq");
    bool timed = clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) == 0;
    int hottest;
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    find_zones(&zones);
    hottest = hottest_millidegrees(&zones);
    put(text, "{\"at\":");
    put_int(text, at);
    put(text, ",\"busy_s\":");
    put_real_or_null(text, busy, busy >= 0);
    put(text, ",\"own_s\":");
    put_real_or_null(text, timed ? (double)own.tv_sec + (double)own.tv_nsec / 1e9 : 0, timed);
    put(text, ",\"frequency_mhz\":");
    put_real_or_null(text, khz / 1000, khz >= 0);
    put(text, ",\"frequency_max_mhz\":");
    put_real_or_null(text, most / 1000, most >= 0);
    put(text, ",\"temperature_c\":");
    put_real_or_null(text, hottest / 1000.0, hottest != NO_TEMPERATURE);
    put(text, ",\"involuntary_switches\":");
    put_count_or_null(text, getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : -1);
    put(text, ",\"processors\":");
    put_count_or_null(text, count > 0 ? count : -1);
    put(text, "}");
}

static void put_platform(Text *text)
{
    static const char *const models[] = {"model name", "Hardware", "Model", NULL};
    char value[PATH_MAX + 1], *end;
    struct utsname name;
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    ssize_t size;
    double temperature;
    memset(&name, 0, sizeof name);
    uname(&name);
    put(text, "{\"system\":");
    put_string(text, name.sysname);
    put(text, ",\"machine\":");
    put_string(text, name.machine);
    put(text, ",\"release\":");
    put_string(text, name.release);
    describe_libc(value, sizeof value);
    put(text, ",\"libc\":");
    put_string(text, value);
    size = readlink("/proc/self/exe", value, sizeof value - 1);
    value[size > 0 ? size : 0] = '\0';
    put(text, ",\"executable\":");
    put_string(text, value);
    put(text, ",\"cpu_count\":");
    put_int(text, count > 0 ? count : 1);
    put(text, ",\"cpu_model\":");
    put_text_or_null(text, line_of("/proc/cpuinfo", models, value, 121) ? value : NULL);
    put(text, ",\"governor\":");
    put_text_or_null(text, first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                                      value, 200)
                               ? value
                               : NULL);
    put(text, ",\"temperature_c\":");
    if (first_line("/sys/class/thermal/thermal_zone0/temp", value, 64) &&
        (temperature = strtod(value, &end), end != value))
        put_real(text, fabs(temperature) > 1000 ? temperature / 1000 : temperature);
    else
        put(text, "null");
    put(text, "}");
}

static void send_hello(const Failure *problem)
{
    Text text = {0};
    size_t index;
    put(&text, "{\"type\":\"hello\",\"protocol\":1,\"agent\":\"native\",\"agent_version\":");
    put_string(&text, AGENT_VERSION);
    put(&text, ",\"platform\":");
    put_platform(&text);
    put(&text, ",\"clock\":{\"name\":\"CLOCK_MONOTONIC\",\"resolution_ns\":");
    put_int(&text, clock_resolution());
    put(&text, "},\"runtime\":");
    if (library_open) {
        bool any = false;
        put(&text, "{\"name\":\"litert_c\",\"version\":");
        put_string(&text, library_version);
        put(&text, ",\"library\":");
        put_string(&text, library_path);
        put(&text, wants_environment() ? ",\"abi\":\"2.1.6\"" : ",\"abi\":\"2.1.3\"");
        put(&text, ",\"optional\":[");
        for (index = 0; index < SYMBOLS; index++) {
            void *found;
            memcpy(&found, symbols[index].member, sizeof found);
            if (symbols[index].needed || found == NULL)
                continue;
            put(&text, any ? "," : "");
            put_string(&text, symbols[index].symbol);
            any = true;
        }
        put(&text, "]}");
    } else {
        put(&text, "null");
    }
    put(&text, ",\"numpy\":null,\"problem\":");
    if (problem != NULL)
        put_failure(&text, problem);
    else
        put(&text, "null");
    put(&text, "}");
    send_line(&text);
    free(text.data);
}
