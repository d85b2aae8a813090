/* Functions that can fail return false and say why in a Failure, which becomes the `error`
 * message. Memory that cannot be had ends the process at once, with its own message. */

typedef struct {
    const char *kind; /* a word of PROTOCOL.md */
    const char *stage;
    const char *hint;
    char message[MAX_TEXT];
} Failure;

#if defined(__GNUC__)
__attribute__((format(printf, 5, 6)))
#endif
static bool fail(Failure *failure, const char *kind, const char *stage, const char *hint,
                 const char *format, ...)
{
    va_list arguments;
    failure->kind = kind;
    failure->stage = stage;
    failure->hint = hint;
    va_start(arguments, format);
    vsnprintf(failure->message, sizeof failure->message, format, arguments);
    va_end(arguments);
    return false;
}

static int protocol_fd = -1; /* the host's end; file descriptor 1 is stderr from main() on */
static pthread_mutex_t sending = PTHREAD_MUTEX_INITIALIZER;
static int64_t last_sent; /* guarded by `sending` */

static bool write_all(const char *data, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(protocol_fd, data, size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return false;
        data += wrote;
        size -= (size_t)wrote;
    }
    return true;
}

static void end_out_of_memory(void)
{
    static const char line[] =
        "{\"type\":\"error\",\"kind\":\"out_of_memory\",\"stage\":\"load\","
        "\"message\":\"the device is out of memory\",\"hint\":\"\"}\n";
    pthread_mutex_lock(&sending);
    (void)write_all(line, sizeof line - 1);
    _exit(1);
}

static void *resize(void *old, size_t count, size_t size)
{
    void *block;
    if (size != 0 && count > SIZE_MAX / 2 / size)
        end_out_of_memory();
    block = realloc(old, count * size > 0 ? count * size : 1);
    if (block == NULL)
        end_out_of_memory();
    return block;
}

static void *allocate(size_t count, size_t size)
{
    void *block = resize(NULL, count, size);
    memset(block, 0, count * size);
    return block;
}
