/* A message is put together in a Text and leaves as one line. */

typedef struct {
    char *data;
    size_t size, room;
} Text;

static char *text_room(Text *text, size_t more)
{
    if (text->room - text->size < more) {
        size_t room = text->room ? text->room : 1024;
        while (room - text->size < more)
            room *= 2;
        text->data = resize(text->data, room, 1);
        text->room = room;
    }
    return text->data + text->size;
}

static void put_bytes(Text *text, const char *data, size_t size)
{
    memcpy(text_room(text, size), data, size);
    text->size += size;
}

static void put(Text *text, const char *literal)
{
    put_bytes(text, literal, strlen(literal));
}

/* Thousands of these are written between two inferences: printf would take too long. */
static void put_int(Text *text, int64_t value)
{
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        digits[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        digits[--at] = '-';
    put_bytes(text, digits + at, sizeof digits - at);
}

static void put_real(Text *text, double value)
{
    char digits[40];
    if (!isfinite(value))
        value = 0;
    snprintf(digits, sizeof digits, "%.17g", value);
    put(text, digits);
}

/* The length of the valid UTF-8 sequence at `at`, or 0. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    size_t length, index;
    uint32_t code;
    if (left == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 0;
    if (length == 0 || length > left || at[0] > 0xf4)
        return 0;
    code = at[0] & (0x7fu >> length);
    for (index = 1; index < length; index++) {
        if ((at[index] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[index] & 0x3fu);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10ffff)) ||
        (code >= 0xd800 && code < 0xe000))
        return 0;
    return length;
}

/* A JSON string of at most `most` bytes of `value`; what is not UTF-8 becomes U+FFFD. */
static void put_string_of(Text *text, const char *value, size_t most)
{
    const unsigned char *at = (const unsigned char *)value;
    size_t left = strlen(value);
    put(text, "\"");
    if (left > most)
        left = most;
    while (left > 0) {
        size_t length = utf8_length(at, left);
        if (length == 0) {
            put(text, "\\ufffd");
            length = 1;
        } else if (length == 1 && (*at < 0x20 || *at == '"' || *at == '\\' || *at == 0x7f)) {
            char escaped[8];
            snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)*at);
            put(text, escaped);
        } else {
            put_bytes(text, (const char *)at, length);
        }
        at += length;
        left -= length;
    }
    put(text, "\"");
}

static void put_string(Text *text, const char *value)
{
    put_string_of(text, value, MAX_TEXT);
}

static void put_text_or_null(Text *text, const char *value)
{
    if (value != NULL && *value != '\0')
        put_string(text, value);
    else
        put(text, "null");
}

static void put_failure(Text *text, const Failure *failure)
{
    put(text, "{\"type\":\"error\",\"kind\":");
    put_string(text, failure->kind);
    put(text, ",\"stage\":");
    put_string(text, failure->stage);
    put(text, ",\"message\":");
    put_string(text, failure->message);
    put(text, ",\"hint\":");
    put_string(text, failure->hint);
    put(text, "}");
}

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* Send what was put together, and begin anew. A host that does not listen ends the process. */
static void send_line(Text *text)
{
    bool sent;
    put(text, "\n");
    pthread_mutex_lock(&sending);
    sent = write_all(text->data, text->size);
    last_sent = now_ns();
    if (!sent)
        _exit(1);
    pthread_mutex_unlock(&sending);
    text->size = 0;
}

/* Called between inferences: a word that the agent lives, where nothing else was said. */
static void tell_progress(void)
{
    bool silent;
    pthread_mutex_lock(&sending);
    silent = now_ns() - last_sent >= NS_PER_S;
    pthread_mutex_unlock(&sending);
    if (silent) {
        Text text = {0};
        put(&text, "{\"type\":\"progress\"}");
        send_line(&text);
        free(text.data);
    }
}
