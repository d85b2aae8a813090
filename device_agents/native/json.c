/* JSON of the request: strict, and bounded in depth and number of values. */

typedef enum {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,
    JSON_REAL,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} JsonType;

typedef struct Json {
    JsonType type;
    bool truth;
    int64_t integer;
    double real; /* of JSON_INT too */
    char *text;
    char *key; /* where it is a member of an object */
    struct Json *first, *next;
    const char *raw; /* the value as it was written */
    size_t raw_size;
} Json;

typedef struct {
    const char *at, *end;
    size_t nodes;
} JsonReader;

static void json_space(JsonReader *reader)
{
    while (reader->at < reader->end && *reader->at != '\0' && strchr(" \t\r\n", *reader->at))
        reader->at++;
}

static bool json_word(JsonReader *reader, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0)
        return false;
    reader->at += size;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool json_hex4(JsonReader *reader, uint32_t *code)
{
    int index;
    if (reader->end - reader->at < 4)
        return false;
    for (*code = 0, index = 0; index < 4; index++) {
        int digit = hex_digit(*reader->at++);
        if (digit < 0)
            return false;
        *code = *code << 4 | (uint32_t)digit;
    }
    return true;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* After the opening quote. Text is never longer than what was written for it. A zero byte is
 * refused: C would cut a path there. */
static char *json_string(JsonReader *reader)
{
    const char *scan = reader->at;
    char *text, *to;
    while (scan < reader->end && *scan != '"')
        scan += *scan == '\\' ? 2 : 1;
    if (scan >= reader->end)
        return NULL;
    text = to = resize(NULL, (size_t)(scan - reader->at) + 1, 1);
    while (*reader->at != '"') {
        size_t length = utf8_length((const unsigned char *)reader->at,
                                    (size_t)(reader->end - reader->at));
        if (length == 0 || (unsigned char)*reader->at < 0x20)
            goto wrong;
        if (*reader->at != '\\') {
            memcpy(to, reader->at, length);
            to += length;
            reader->at += length;
            continue;
        }
        reader->at++;
        switch (*reader->at++) {
        case '"': *to++ = '"'; break;
        case '\\': *to++ = '\\'; break;
        case '/': *to++ = '/'; break;
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': {
            uint32_t code, low;
            if (!json_hex4(reader, &code) || code == 0 || (code >= 0xdc00 && code < 0xe000))
                goto wrong;
            if (code >= 0xd800 && code < 0xdc00) {
                if (!json_word(reader, "\\u") || !json_hex4(reader, &low) || low < 0xdc00 ||
                    low >= 0xe000)
                    goto wrong;
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            }
            to = put_utf8(to, code);
            break;
        }
        default: goto wrong;
        }
    }
    *to = '\0';
    reader->at++;
    return text;
wrong:
    free(text);
    return NULL;
}

static const char *json_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

static bool json_number(JsonReader *reader, Json *value)
{
    const char *at = reader->at, *digits, *next;
    char copy[64];
    bool whole = true;
    if (at < reader->end && *at == '-')
        at++;
    digits = at;
    at = json_digits(at, reader->end);
    if (at == digits || (*digits == '0' && at - digits > 1))
        return false;
    if (at < reader->end && *at == '.') {
        whole = false;
        next = json_digits(at + 1, reader->end);
        if (next == at + 1)
            return false;
        at = next;
    }
    if (at < reader->end && (*at == 'e' || *at == 'E')) {
        whole = false;
        at++;
        if (at < reader->end && (*at == '+' || *at == '-'))
            at++;
        next = json_digits(at, reader->end);
        if (next == at)
            return false;
        at = next;
    }
    if ((size_t)(at - reader->at) >= sizeof copy)
        return false;
    memcpy(copy, reader->at, (size_t)(at - reader->at));
    copy[at - reader->at] = '\0';
    reader->at = at;
    errno = 0;
    value->real = strtod(copy, NULL);
    if (!isfinite(value->real))
        return false;
    value->type = JSON_REAL;
    if (whole) {
        errno = 0;
        value->integer = strtoll(copy, NULL, 10);
        if (errno == 0)
            value->type = JSON_INT;
    }
    return true;
}

static Json *json_value(JsonReader *reader, int depth);

static bool json_members(JsonReader *reader, Json *parent, char close, int depth)
{
    Json **last = &parent->first;
    json_space(reader);
    if (reader->at < reader->end && *reader->at == close) {
        reader->at++;
        return true;
    }
    for (;;) {
        char *key = NULL;
        Json *child;
        json_space(reader);
        if (close == '}') {
            if (!json_word(reader, "\"") || (key = json_string(reader)) == NULL)
                return false;
            json_space(reader);
            if (!json_word(reader, ":"))
                return false;
        }
        child = json_value(reader, depth + 1);
        if (child == NULL)
            return false;
        child->key = key;
        *last = child;
        last = &child->next;
        json_space(reader);
        if (reader->at >= reader->end)
            return false;
        if (*reader->at == close) {
            reader->at++;
            return true;
        }
        if (*reader->at++ != ',')
            return false;
    }
}

/* NULL for what is not JSON. Nothing is freed: a process reads one request. */
static Json *json_value(JsonReader *reader, int depth)
{
    Json *value;
    bool good;
    if (depth > MAX_DEPTH || ++reader->nodes > MAX_NODES)
        return NULL;
    value = allocate(1, sizeof *value);
    json_space(reader);
    if (reader->at >= reader->end)
        return NULL;
    value->raw = reader->at;
    switch (*reader->at) {
    case '{':
        reader->at++;
        value->type = JSON_OBJECT;
        good = json_members(reader, value, '}', depth);
        break;
    case '[':
        reader->at++;
        value->type = JSON_ARRAY;
        good = json_members(reader, value, ']', depth);
        break;
    case '"':
        reader->at++;
        value->type = JSON_STRING;
        good = (value->text = json_string(reader)) != NULL;
        break;
    case 't':
        value->type = JSON_BOOL;
        value->truth = true;
        good = json_word(reader, "true");
        break;
    case 'f':
        value->type = JSON_BOOL;
        good = json_word(reader, "false");
        break;
    case 'n':
        value->type = JSON_NULL;
        good = json_word(reader, "null");
        break;
    default: good = json_number(reader, value);
    }
    value->raw_size = (size_t)(reader->at - value->raw);
    return good ? value : NULL;
}

static Json *json_read(const char *data, size_t size)
{
    JsonReader reader = {data, data + size, 0};
    Json *value = json_value(&reader, 0);
    json_space(&reader);
    return value != NULL && reader.at == reader.end ? value : NULL;
}

/* A member by name, the last of several, or NULL. */
static const Json *member(const Json *object, const char *key)
{
    const Json *found = NULL, *child;
    if (object == NULL || object->type != JSON_OBJECT)
        return NULL;
    for (child = object->first; child != NULL; child = child->next)
        if (strcmp(child->key, key) == 0)
            found = child;
    return found;
}

static const char *member_text(const Json *object, const char *key)
{
    const Json *value = member(object, key);
    return value != NULL && value->type == JSON_STRING ? value->text : NULL;
}

/* A member that is a whole number of `low` to `high`; false where it is something else. */
static bool member_int(const Json *object, const char *key, int64_t fallback, int64_t low,
                       int64_t high, int64_t *found)
{
    const Json *value = member(object, key);
    *found = value != NULL ? value->integer : fallback;
    return value == NULL || (value->type == JSON_INT && *found >= low && *found <= high);
}

/* A value for messages: as it was written, but not all of it. */
static const char *shown(const Json *object, const char *key, char *room, size_t size)
{
    const Json *value = member(object, key);
    int length = value == NULL ? 4 : value->raw_size < 60 ? (int)value->raw_size : 60;
    snprintf(room, size, "%.*s", length, value == NULL ? "null" : value->raw);
    return room;
}
