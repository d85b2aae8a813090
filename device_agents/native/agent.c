/* The native agent: runs models with LiteRT and speaks ../PROTOCOL.md, version 1.
 *
 *     agent --library /path/libLiteRt.so [--version-note TEXT]
 *
 * One process serves one request. There are no headers of LiteRT here: the library is loaded
 * with dlopen, its C interface is declared below, and which of its ABIs it has is read from the
 * symbols that it exports, never from a version. Needs a POSIX 2008 system with Linux's /proc,
 * and nothing but libc, libm, libdl and threads; README.md beside this file says how to build.
 *
 * Sections: failures, text, JSON, base64 and SHA-256, LiteRT, the machine, samples, models,
 * and one for each action.
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

/* ---------------------------------------------------------------- failures
 * Functions that can fail return false and say why in a Failure, which becomes the `error`
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

/* ---------------------------------------------------------------- text
 * A message is put together in a Text and leaves as one line. */

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

/* ---------------------------------------------------------------- JSON
 * The request: strict, and bounded in depth and number of values. */

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

/* ---------------------------------------------------------------- base64 and SHA-256 */

static void put_base64(Text *text, const unsigned char *data, size_t size)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = text_room(text, (size + 2) / 3 * 4);
    size_t at;
    text->size += (size + 2) / 3 * 4;
    for (at = 0; at + 2 < size; at += 3, to += 4) {
        uint32_t three = (uint32_t)data[at] << 16 | (uint32_t)data[at + 1] << 8 | data[at + 2];
        to[0] = digits[three >> 18];
        to[1] = digits[three >> 12 & 63];
        to[2] = digits[three >> 6 & 63];
        to[3] = digits[three & 63];
    }
    if (at < size) {
        uint32_t rest = (uint32_t)data[at] << 16;
        rest |= at + 1 < size ? (uint32_t)data[at + 1] << 8 : 0;
        to[0] = digits[rest >> 18];
        to[1] = digits[rest >> 12 & 63];
        to[2] = at + 1 < size ? digits[rest >> 6 & 63] : '=';
        to[3] = '=';
    }
}

/* FIPS 180-4: first bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t sha256_round[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotated(uint32_t value, int count)
{
    return value >> count | value << (32 - count);
}

static void sha256_block(uint32_t state[8], const unsigned char *block)
{
    uint32_t word[64], now[8];
    int index;
    for (index = 0; index < 16; index++)
        word[index] = (uint32_t)block[4 * index] << 24 | (uint32_t)block[4 * index + 1] << 16 |
                      (uint32_t)block[4 * index + 2] << 8 | block[4 * index + 3];
    for (; index < 64; index++) {
        uint32_t early = word[index - 15], late = word[index - 2];
        word[index] = word[index - 16] + word[index - 7] +
                      (rotated(early, 7) ^ rotated(early, 18) ^ early >> 3) +
                      (rotated(late, 17) ^ rotated(late, 19) ^ late >> 10);
    }
    memcpy(now, state, sizeof now);
    for (index = 0; index < 64; index++) {
        uint32_t a = now[0], e = now[4];
        uint32_t first = now[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
                         ((e & now[5]) ^ (~e & now[6])) + sha256_round[index] + word[index];
        uint32_t second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +
                          ((a & now[1]) ^ (a & now[2]) ^ (now[1] & now[2]));
        memmove(now + 1, now, 7 * sizeof *now);
        now[4] += first;
        now[0] = first + second;
    }
    for (index = 0; index < 8; index++)
        state[index] += now[index];
}

/* The sha256 of a file in hex, or false where it cannot be read. */
static bool sha256_file(const char *path, char hex[65])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char chunk[1 << 15], tail[128] = {0};
    size_t used = 0, index;
    uint64_t total = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    for (;;) {
        got = read(fd, chunk + used, sizeof chunk - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        total += (uint64_t)got;
        used += (size_t)got;
        for (index = 0; used - index >= 64; index += 64)
            sha256_block(state, chunk + index);
        memmove(chunk, chunk + index, used - index);
        used -= index;
    }
    close(fd);
    if (got < 0)
        return false;
    memcpy(tail, chunk, used);
    tail[used] = 0x80;
    for (index = 0; index < 8; index++)
        tail[(used < 56 ? 64 : 128) - 1 - index] = (unsigned char)(total * 8 >> 8 * index);
    sha256_block(state, tail);
    if (used >= 56)
        sha256_block(state, tail + 64);
    for (index = 0; index < 8; index++)
        snprintf(hex + 8 * index, 9, "%08" PRIx32, state[index]);
    return true;
}

/* ---------------------------------------------------------------- LiteRT
 * Its C interface, as far as it is needed. Handles are opaque; 0 is success everywhere. */

typedef int Status;
typedef void *Handle;
typedef size_t Index;

enum {
    STATUS_OK = 0,
    STATUS_NO_MEMORY = 2,
    STATUS_FAILED = 3,
    STATUS_UNSUPPORTED = 5,
    STATUS_NO_MODEL = 501,
};
enum { ACCELERATOR_CPU = 1, ACCELERATOR_GPU = 2, ACCELERATOR_NPU = 4 };
enum { READING = 0, WRITING = 1 };
enum { QUANTIZED_PER_TENSOR = 1 };
enum { ANY_INT = 2, ANY_TEXT = 8 };
enum {
    OPTION_DISPATCH_FOLDER = 1,   /* where libraries of an NPU are */
    OPTION_RUNTIME_FOLDER = 22,   /* where libraries of a GPU are */
    OPTION_ACCELERATORS = 24,     /* those that are looked for; by default all */
    OPTION_LEAST_SEVERITY = 25,   /* of what is logged to stderr */
};
enum { LOG_ERRORS = 3 };
enum { EVENT_OPERATOR = 2, EVENT_DELEGATE = 4, EVENT_DELEGATE_PROFILED = 8 };

typedef struct {
    unsigned rank : 7, has_strides : 1;
    int32_t size[MAX_RANK];
    uint32_t stride[MAX_RANK];
} Layout;

typedef struct {
    int element;
    Layout layout;
} TensorType;

typedef struct {
    int type;
    union {
        bool truth;
        int64_t integer;
        double real;
        const void *pointer;
    } is;
} Any;

typedef struct {
    int tag;
    Any value;
} EnvironmentOption;

typedef struct {
    float scale;
    int64_t zero_point;
} Quantization;

typedef struct {
    const char *tag;
    int type;
    uint64_t start_us, elapsed_us;
    size_t memory[6];
    uint64_t node, extra;
    int source;
} ProfilerEvent;

/* member, exported name, result, parameters. `model_2` and `model_3` are one symbol with two
 * ABIs: 2.1.3 to 2.1.5 take no environment, later ones do, and export LiteRtCreateModelFromFd. */
#define NEEDED(X)                                                                                 \
    X(environment, LiteRtCreateEnvironment, Status, (int, const EnvironmentOption *, Handle *))   \
    X(model_2, LiteRtCreateModelFromFile, Status, (const char *, Handle *))                       \
    X(model_3, LiteRtCreateModelFromFile, Status, (Handle, const char *, Handle *))               \
    X(destroy_model, LiteRtDestroyModel, void, (Handle))                                          \
    X(options, LiteRtCreateOptions, Status, (Handle *))                                           \
    X(accelerators, LiteRtSetOptionsHardwareAccelerators, Status, (Handle, int))                  \
    X(opaque, LiteRtCreateOpaqueOptions, Status,                                                  \
      (const char *, void *, void (*)(void *), Handle *))                                         \
    X(add_opaque, LiteRtAddOpaqueOptions, Status, (Handle, Handle))                               \
    X(destroy_options, LiteRtDestroyOptions, void, (Handle))                                      \
    X(compile, LiteRtCreateCompiledModel, Status, (Handle, Handle, Handle, Handle *))             \
    X(destroy_compiled, LiteRtDestroyCompiledModel, void, (Handle))                               \
    X(signature_count, LiteRtGetNumModelSignatures, Status, (Handle, Index *))                    \
    X(signature, LiteRtGetModelSignature, Status, (Handle, Index, Handle *))                      \
    X(signature_graph, LiteRtGetSignatureSubgraph, Status, (Handle, Handle *))                    \
    X(main_graph, LiteRtGetMainModelSubgraphIndex, Status, (Handle, Index *))                     \
    X(graph, LiteRtGetModelSubgraph, Status, (Handle, Index, Handle *))                           \
    X(operator_count, LiteRtGetNumSubgraphOps, Status, (Handle, Index *))                         \
    X(signature_inputs, LiteRtGetNumSignatureInputs, Status, (Handle, Index *))                   \
    X(signature_input, LiteRtGetSignatureInputTensorByIndex, Status, (Handle, Index, Handle *))   \
    X(graph_inputs, LiteRtGetNumSubgraphInputs, Status, (Handle, Index *))                        \
    X(graph_input, LiteRtGetSubgraphInput, Status, (Handle, Index, Handle *))                     \
    X(signature_outputs, LiteRtGetNumSignatureOutputs, Status, (Handle, Index *))                 \
    X(signature_output, LiteRtGetSignatureOutputTensorByIndex, Status, (Handle, Index, Handle *)) \
    X(graph_outputs, LiteRtGetNumSubgraphOutputs, Status, (Handle, Index *))                      \
    X(graph_output, LiteRtGetSubgraphOutput, Status, (Handle, Index, Handle *))                   \
    X(tensor_name, LiteRtGetTensorName, Status, (Handle, const char **))                          \
    X(tensor_type, LiteRtGetRankedTensorType, Status, (Handle, TensorType *))                     \
    X(quantization_kind, LiteRtGetQuantizationTypeId, Status, (Handle, int *))                    \
    X(quantization, LiteRtGetPerTensorQuantization, Status, (Handle, Quantization *))             \
    X(input_layout, LiteRtGetCompiledModelInputTensorLayout, Status,                              \
      (Handle, Index, Index, Layout *))                                                           \
    X(output_layouts, LiteRtGetCompiledModelOutputTensorLayouts, Status,                          \
      (Handle, Index, size_t, Layout *, bool))                                                    \
    X(input_needs, LiteRtGetCompiledModelInputBufferRequirements, Status,                         \
      (Handle, Index, Index, Handle *))                                                           \
    X(output_needs, LiteRtGetCompiledModelOutputBufferRequirements, Status,                       \
      (Handle, Index, Index, Handle *))                                                           \
    X(buffer, LiteRtCreateManagedTensorBufferFromRequirements, Status,                            \
      (Handle, const TensorType *, Handle, Handle *))                                             \
    X(buffer_size, LiteRtGetTensorBufferPackedSize, Status, (Handle, size_t *))                   \
    X(lock, LiteRtLockTensorBuffer, Status, (Handle, void **, int))                               \
    X(unlock, LiteRtUnlockTensorBuffer, Status, (Handle))                                         \
    X(destroy_buffer, LiteRtDestroyTensorBuffer, void, (Handle))                                  \
    X(run, LiteRtRunCompiledModel, Status, (Handle, Index, size_t, Handle *, size_t, Handle *))

#define OPTIONAL(X)                                                                               \
    X(model_from_fd, LiteRtCreateModelFromFd, Status, (void))                                     \
    X(fully_accelerated, LiteRtCompiledModelIsFullyAccelerated, Status, (Handle, bool *))         \
    X(beyond_cpu, LiteRtCompiledModelIsNonCpuFullyAccelerated, Status, (Handle, bool *))          \
    X(status_text, LiteRtGetStatusString, const char *, (Status))                                 \
    X(profiler, LiteRtCompiledModelGetProfiler, Status, (Handle, Handle *))                       \
    X(profiler_start, LiteRtStartProfiler, Status, (Handle))                                      \
    X(profiler_stop, LiteRtStopProfiler, Status, (Handle))                                        \
    X(event_count, LiteRtGetNumProfilerEvents, Status, (Handle, int *))                           \
    X(events, LiteRtGetProfilerEvents, Status, (Handle, int, ProfilerEvent *))

#define DECLARE(member, symbol, result, parameters) result(*member) parameters;
static struct {
    NEEDED(DECLARE)
    OPTIONAL(DECLARE)
} rt;

typedef struct {
    const char *symbol;
    void *member;
    bool needed;
} Symbol;

#define NEEDED_ROW(member, symbol, result, parameters) {#symbol, &rt.member, true},
#define OPTIONAL_ROW(member, symbol, result, parameters) {#symbol, &rt.member, false},
static const Symbol symbols[] = {NEEDED(NEEDED_ROW) OPTIONAL(OPTIONAL_ROW)};
enum { SYMBOLS = sizeof symbols / sizeof *symbols };

static const char *library_path, *library_version = "unknown";
static bool library_open; /* whether `rt` can be called */

/* Load the library and fill `rt`; a Failure here is the `problem` of the hello. */
static bool open_library(Failure *failure)
{
    size_t index, absent = 0;
    const char *first_absent = NULL;
    void *library = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *reason = dlerror();
        return fail(failure, "no_runtime", "start",
                    "give it a libLiteRt.so that was built for this device: its processor, and a "
                    "C library no newer than the device's",
                    "the runtime cannot be loaded: %s", reason != NULL ? reason : library_path);
    }
    for (index = 0; index < SYMBOLS; index++) {
        void *found = dlsym(library, symbols[index].symbol);
        if (found == NULL && symbols[index].needed) {
            first_absent = absent++ > 0 ? first_absent : symbols[index].symbol;
        }
        /* ISO C knows no way from an object's pointer to a function's; POSIX promises this one. */
        memcpy(symbols[index].member, &found, sizeof found);
    }
    if (dlsym(library, "LiteRtCreateCpuOptions") != NULL)
        return fail(failure, "no_runtime", "start", "use LiteRT 2.1.3 or later",
                    "%s is of LiteRT 2.1.2 or older, whose options this agent cannot set",
                    library_path);
    if (absent > 0)
        return fail(failure, "no_runtime", "start",
                    "use the libLiteRt.so of LiteRT 2.1.3 or later",
                    "%s lacks %zu functions of LiteRT's C interface, %s among them", library_path,
                    absent, first_absent);
    library_open = true;
    return true;
}

static bool wants_environment(void)
{
    return rt.model_from_fd != NULL;
}

/* What a status means, for messages. */
static const char *status_meaning(Status status)
{
    static const struct {
        Status status;
        const char *meaning;
    } known[] = {{1, "invalid argument"},  {2, "out of memory"},       {3, "runtime failure"},
                 {4, "missing input"},     {5, "unsupported"},         {6, "not found"},
                 {8, "wrong version"},     {500, "file cannot be read"}, {501, "not a model"},
                 {502, "dynamic loading"}, {504, "compilation failed"}};
    size_t index;
    for (index = 0; index < sizeof known / sizeof *known; index++)
        if (known[index].status == status)
            return known[index].meaning;
    return rt.status_text != NULL ? rt.status_text(status) : "unknown";
}

/* LiteRT tells why it refuses a model on stderr alone, so stderr is listened to meanwhile. The
 * pipe never blocks: what does not fit into it is lost. */
typedef struct {
    int saved, pipe[2];
} Listening;

static Listening *volatile listening_now; /* for crashed() */

static void listen_begin(Listening *listening)
{
    listening->saved = -1;
    if (pipe(listening->pipe) != 0)
        return;
    fcntl(listening->pipe[0], F_SETFL, O_NONBLOCK);
    fcntl(listening->pipe[1], F_SETFL, O_NONBLOCK);
    fflush(stderr);
    listening->saved = dup(2);
    if (listening->saved >= 0)
        dup2(listening->pipe[1], 2);
    close(listening->pipe[1]);
    listening_now = listening;
}

/* What was said, on one line and without mere information, in `room`; the host's record of
 * stderr gets all of it. */
static void listen_end(Listening *listening, char *room, size_t size)
{
    char heard[8192], *line, *rest = NULL;
    size_t used = 0, kept = 0;
    ssize_t got;
    room[0] = '\0';
    listening_now = NULL;
    if (listening->saved < 0)
        return;
    dup2(listening->saved, 2);
    close(listening->saved);
    while (kept < sizeof heard - 1 &&
           (got = read(listening->pipe[0], heard + kept, sizeof heard - 1 - kept)) > 0)
        kept += (size_t)got;
    close(listening->pipe[0]);
    heard[kept] = '\0';
    fputs(heard, stderr);
    for (line = strtok_r(heard, "\r\n", &rest); line != NULL; line = strtok_r(NULL, "\r\n", &rest))
        if (strncmp(line, "INFO:", 5) != 0 && used + strlen(line) + 2 < size)
            used += (size_t)snprintf(room + used, size - used, "%s%s", used > 0 ? " " : "", line);
}

/* LiteRT does not verify a model before it follows its offsets: a damaged file can crash it. Such
 * an end is an answer too, as long as a model loads. Only calls that signal handlers may make. */
static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE};
enum { CRASHES = sizeof crashes / sizeof *crashes };

static void crashed(int number)
{
    static const char line[] =
        "{\"type\":\"error\",\"kind\":\"bad_model\",\"stage\":\"load\",\"message\":\"LiteRT crashed "
        "while it loaded the model\",\"hint\":\"is the file whole, and a model?\"}\n";
    (void)number;
    if (listening_now != NULL && listening_now->saved >= 0) {
        char heard[512];
        ssize_t got;
        while ((got = read(listening_now->pipe[0], heard, sizeof heard)) > 0)
            if (write(listening_now->saved, heard, (size_t)got) < 0)
                break;
    }
    (void)write_all(line, sizeof line - 1);
    _exit(1);
}

static void watch_crashes(bool on)
{
    static char stack[1 << 16]; /* the crash may be for want of stack */
    struct sigaction action;
    stack_t other;
    size_t index;
    memset(&other, 0, sizeof other);
    other.ss_sp = stack;
    other.ss_size = sizeof stack;
    sigaltstack(&other, NULL);
    memset(&action, 0, sizeof action);
    action.sa_handler = on ? crashed : SIG_DFL;
    action.sa_flags = SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (index = 0; index < CRASHES; index++)
        sigaction(crashes[index], &action, NULL);
}

/* ---------------------------------------------------------------- the machine */

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

/* What a trial says of itself beside its samples. Of memory at its steps: the peak so far, and what
 * the process has then. Threads: before the model is loaded, and once it has run; -1: not told. */
typedef struct {
    int64_t peak[3], resident[3];
    int64_t threads_before, threads_after;
    Text conditions;
} Trial;

enum { AT_START, AT_LOAD, AT_END };

static void note_memory(Trial *trial, int step)
{
    trial->peak[step] = peak_memory();
    trial->resident[step] = own_memory("VmRSS");
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

static void put_steps(Text *text, const char *name, const int64_t *values)
{
    static const char *const steps[] = {"{\"start\":", ",\"loaded\":", ",\"end\":"};
    int step;
    put_string(text, name);
    put(text, ":");
    for (step = AT_START; step <= AT_END; step++) {
        put(text, steps[step]);
        put_count_or_null(text, values[step]);
    }
    put(text, "}");
}

static void begin_trial(Trial *trial)
{
    memset(trial, 0, sizeof *trial);
    note_memory(trial, AT_START);
    trial->threads_before = thread_count();
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

/* ---------------------------------------------------------------- conditions
 * What the machine tells of its load, clock and heat. The Python agent reads the same files the
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

/* ---------------------------------------------------------------- types of elements */

typedef enum { F16, F32, F64, I8, U8, I16, U16, I32, U32, I64, U64, BOOL, OTHER } Type;

static const struct {
    const char *name; /* NumPy's */
    const char *npy;  /* in a .npy file, after its byte order */
    int element;      /* LiteRT's */
    size_t size;
    double low, high; /* of integers */
} types[] = {
    [F16] = {"float16", "f2", 10, 2, 0, 0},
    [F32] = {"float32", "f4", 1, 4, 0, 0},
    [F64] = {"float64", "f8", 11, 8, 0, 0},
    [I8] = {"int8", "i1", 9, 1, -128, 127},
    [U8] = {"uint8", "u1", 3, 1, 0, 255},
    [I16] = {"int16", "i2", 7, 2, -32768, 32767},
    [U16] = {"uint16", "u2", 17, 2, 0, 65535},
    [I32] = {"int32", "i4", 2, 4, -2147483648.0, 2147483647.0},
    [U32] = {"uint32", "u4", 16, 4, 0, 4294967295.0},
    [I64] = {"int64", "i8", 4, 8, -9223372036854775808.0, 9223372036854774784.0},
    [U64] = {"uint64", "u8", 13, 8, 0, 18446744073709549568.0},
    [BOOL] = {"bool", "b1", 6, 1, 0, 0},
    [OTHER] = {"other", "", -1, 0, 0, 0},
};

static bool is_float(Type type)
{
    return type <= F64;
}

static bool is_integer(Type type)
{
    return type >= I8 && type <= U64;
}

static float half_to_float(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float size;
    if (exponent == 31)
        size = fraction ? (float)NAN : (float)INFINITY;
    else if (exponent == 0)
        size = ldexpf((float)fraction, -24);
    else
        size = ldexpf((float)(fraction + 1024), exponent - 25);
    return half & 0x8000 ? -size : size;
}

/* Rounded to nearest, ties to even, as IEEE 754 has it. */
static uint16_t float_to_half(float value)
{
    uint32_t bits, fraction, rest, half;
    uint16_t sign;
    int exponent, drop;
    memcpy(&bits, &value, sizeof bits);
    sign = (uint16_t)(bits >> 16 & 0x8000);
    exponent = (int)(bits >> 23 & 255) - 127;
    fraction = bits & 0x7fffff;
    if (exponent == 128)
        return (uint16_t)(sign | 0x7c00 | (fraction ? 0x200 | fraction >> 13 : 0));
    if (exponent > 15)
        return sign | 0x7c00;
    if (exponent < -25)
        return sign;
    fraction |= 0x800000;
    drop = exponent < -14 ? 13 + (-14 - exponent) : 13;
    half = fraction >> drop;
    rest = fraction & ((1u << drop) - 1);
    if (rest > 1u << (drop - 1) || (rest == 1u << (drop - 1) && (half & 1)))
        half++;
    /* Below the normal numbers the exponent is 0; a carry moves on into it by itself. */
    return (uint16_t)(sign | (exponent < -14 ? half : half + ((uint32_t)(exponent + 14) << 10)));
}

#define EACH(c_type, expression)                                                                  \
    do {                                                                                          \
        for (index = 0; index < count; index++) {                                                 \
            c_type value;                                                                         \
            memcpy(&value, from + index * sizeof value, sizeof value);                            \
            to[index] = (expression);                                                             \
        }                                                                                         \
    } while (0)

/* Elements of any type as 32-bit floats, rounded to nearest. */
static void as_floats(Type type, const unsigned char *from, float *to, size_t count)
{
    size_t index;
    switch (type) {
    case F16: EACH(uint16_t, half_to_float(value)); break;
    case F32: memcpy(to, from, count * sizeof *to); break;
    case F64: EACH(double, (float)value); break;
    case I8: EACH(int8_t, (float)value); break;
    case U8: EACH(uint8_t, (float)value); break;
    case I16: EACH(int16_t, (float)value); break;
    case U16: EACH(uint16_t, (float)value); break;
    case I32: EACH(int32_t, (float)value); break;
    case U32: EACH(uint32_t, (float)value); break;
    case I64: EACH(int64_t, (float)value); break;
    case U64: EACH(uint64_t, (float)value); break;
    case BOOL: EACH(uint8_t, value ? 1.0f : 0.0f); break;
    case OTHER: break;
    }
}

static int64_t whole(double value)
{
    if (value != value)
        return 0;
    return value >= 9.2e18 ? INT64_MAX : value <= -9.2e18 ? INT64_MIN : (int64_t)value;
}

/* Elements of any type as whole numbers, cut towards zero. */
static void as_integers(Type type, const unsigned char *from, int64_t *to, size_t count)
{
    size_t index;
    switch (type) {
    case F16: EACH(uint16_t, whole((double)half_to_float(value))); break;
    case F32: EACH(float, whole((double)value)); break;
    case F64: EACH(double, whole(value)); break;
    case I8: EACH(int8_t, value); break;
    case U8: EACH(uint8_t, value); break;
    case I16: EACH(int16_t, value); break;
    case U16: EACH(uint16_t, value); break;
    case I32: EACH(int32_t, value); break;
    case U32: EACH(uint32_t, value); break;
    case I64: memcpy(to, from, count * sizeof *to); break;
    case U64: EACH(uint64_t, (int64_t)value); break;
    case BOOL: EACH(uint8_t, value != 0); break;
    case OTHER: break;
    }
}

/* A whole number into an element; what does not fit loses its high bits, as in NumPy. */
static void store_integer(Type type, unsigned char *to, int64_t value)
{
    switch (types[type].size) {
    case 1: *to = (unsigned char)value; break;
    case 2: memcpy(to, &(uint16_t){(uint16_t)value}, 2); break;
    case 4: memcpy(to, &(uint32_t){(uint32_t)value}, 4); break;
    default: memcpy(to, &value, 8);
    }
}

/* ---------------------------------------------------------------- samples
 * A .npy file (format 1.0, in C order), mapped: numpy.lib.format describes it. */

typedef struct {
    Type type;
    int rank;
    int64_t size[MAX_SAMPLE_RANK];
    const unsigned char *data;
    size_t count, row; /* samples, and bytes of one */
} Samples;

/* A path of the request; a leading ~ is the user's home. */
static char *expanded(const char *path)
{
    const char *home = getenv("HOME");
    char *whole_path;
    if (path[0] != '~' || (path[1] != '/' && path[1] != '\0') || home == NULL)
        home = "";
    else
        path++;
    whole_path = resize(NULL, strlen(home) + strlen(path) + 1, 1);
    strcpy(whole_path, home);
    strcat(whole_path, path);
    return whole_path;
}

/* Step over `literal`; false where `*at` does not begin with it. */
static bool skip(const char **at, const char *literal)
{
    size_t size = strlen(literal);
    if (strncmp(*at, literal, size) != 0)
        return false;
    *at += size;
    return true;
}

/* The header, to the letter as NumPy writes it; NULL, or what is wrong with it. */
static const char *read_header(const char *header, size_t size, Samples *samples)
{
    const char *at = header;
    char *end;
    if (!skip(&at, "{'descr': '"))
        return "no header of NumPy's";
    if (!skip(&at, "<") && !skip(&at, "|"))
        return "values that are not little-endian";
    for (samples->type = 0; samples->type < OTHER; samples->type++)
        if (skip(&at, types[samples->type].npy))
            break;
    if (samples->type == OTHER || !skip(&at, "', "))
        return "values that are not numbers";
    if (!skip(&at, "'fortran_order': False, 'shape': ("))
        return "not in C order";
    for (samples->rank = 0; samples->rank < MAX_SAMPLE_RANK; at = end) {
        if (samples->rank > 0 && !skip(&at, ", "))
            break;
        if (*at < '0' || *at > '9')
            return "no list of numbers";
        errno = 0;
        samples->size[samples->rank++] = strtoll(at, &end, 10);
        if (errno != 0)
            return "a size of more than 64 bits";
    }
    if (samples->rank == 1 && !skip(&at, ","))
        return "no shape";
    if (!skip(&at, "), }"))
        return "no shape";
    at += strspn(at, " ");
    return skip(&at, "\n") && at == header + size ? NULL : "no header of NumPy's";
}

static bool open_samples(const Json *request, const char *stage, Samples *samples, Failure *failure)
{
    const char *declared = member_text(member(request, "samples"), "path"), *wrong;
    char *path, *header;
    const unsigned char *data;
    struct stat status;
    size_t size, begin;
    int fd, index;
    if (declared == NULL)
        return fail(failure, "bad_request", stage, "", "samples.path is missing");
    path = expanded(declared);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return fail(failure, "bad_samples", stage, "", "cannot read the samples: %s: %s", path,
                    fd < 0 ? strerror(errno) : "not a file");
    size = (size_t)status.st_size;
    if (size < 10)
        return fail(failure, "bad_samples", stage, "", "cannot read the samples: too short");
    data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED)
        return fail(failure, "bad_samples", stage, "", "cannot map the samples: %s",
                    strerror(errno));
    begin = 10 + ((size_t)data[8] | (size_t)data[9] << 8);
    if (memcmp(data, "\x93NUMPY\x01\x00", 8) != 0 || begin > size)
        return fail(failure, "bad_samples", stage, "",
                    "cannot read the samples: not a .npy file of format 1.0");
    header = allocate(begin - 10 + 1, 1);
    memcpy(header, data + 10, begin - 10);
    wrong = read_header(header, begin - 10, samples);
    free(header);
    if (wrong != NULL)
        return fail(failure, "bad_samples", stage, "", "cannot read the samples: %s", wrong);
    samples->data = data + begin;
    samples->row = types[samples->type].size;
    for (index = 1; index < samples->rank; index++) {
        if (samples->size[index] > 0 && samples->row > size / (size_t)samples->size[index])
            return fail(failure, "bad_samples", stage, "", "cannot read the samples: cut off");
        samples->row *= (size_t)samples->size[index];
    }
    samples->count = (size_t)samples->size[0];
    if (samples->row > 0 && samples->count > (size - begin) / samples->row)
        return fail(failure, "bad_samples", stage, "", "cannot read the samples: cut off");
    if (samples->count == 0 || samples->row == 0)
        return fail(failure, "bad_samples", stage, "", "there are no samples");
    return true;
}

/* ---------------------------------------------------------------- files of models
 * LiteRT follows the offsets of a file without a look at where they lead, so those that a cut file
 * has lost are looked for before: the tables that the root names, and those of the graphs. See
 * flatbuffers.dev/internals and tensorflow/compiler/mlir/lite/schema/schema.fbs. */

typedef struct {
    const unsigned char *data;
    size_t size;
} File;

static uint32_t little_endian(const File *file, size_t at, int bytes)
{
    uint32_t value = 0;
    while (bytes-- > 0)
        value = value << 8 | file->data[at + (size_t)bytes];
    return value;
}

/* Where a table's list of the places of its fields is. */
static size_t fields_of(const File *file, size_t table)
{
    return table - (size_t)(int32_t)little_endian(file, table, 4);
}

static bool whole_table(const File *file, size_t table)
{
    size_t fields;
    if (table > file->size - 4)
        return false;
    fields = fields_of(file, table);
    return fields <= file->size - 4 &&
           little_endian(file, fields, 2) <= file->size - fields &&
           little_endian(file, fields + 2, 2) <= file->size - table;
}

typedef bool TableCheck(const File *, size_t);

/* Whether a field's list is in the file: bytes, or tables that a check finds whole. */
static bool whole_list(const File *file, size_t table, size_t field, TableCheck *check)
{
    size_t at, count, fields, entry = 4 + 2 * field, width = check != NULL ? 4 : 1;
    if (!whole_table(file, table))
        return false;
    fields = fields_of(file, table);
    if (entry + 2 > little_endian(file, fields, 2))
        return true; /* the table is older than the field */
    at = little_endian(file, fields + entry, 2);
    if (at == 0)
        return true; /* the table leaves it out */
    at += table;
    if (at > file->size - 4)
        return false;
    at += little_endian(file, at, 4);
    if (at > file->size - 4)
        return false;
    count = little_endian(file, at, 4);
    at += 4;
    if (count > (file->size - at) / width)
        return false;
    for (; check != NULL && count > 0; count--, at += 4)
        if (!check(file, at + little_endian(file, at, 4)))
            return false;
    return true;
}

static bool whole_graph(const File *file, size_t graph)
{
    enum { TENSORS = 0, OPERATORS = 3 };
    return whole_list(file, graph, TENSORS, whole_table) &&
           whole_list(file, graph, OPERATORS, whole_table);
}

static bool whole_buffer(const File *file, size_t buffer)
{
    enum { DATA = 0 };
    return whole_list(file, buffer, DATA, NULL);
}

static bool is_whole(const char *path)
{
    enum { CODES = 1, GRAPHS = 2, BUFFERS = 4 };
    File file;
    struct stat status;
    void *data = MAP_FAILED;
    size_t root;
    bool good;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size >= 8)
        data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        close(fd);
    if (data == MAP_FAILED)
        return false;
    file.data = data;
    file.size = (size_t)status.st_size;
    root = little_endian(&file, 0, 4);
    good = memcmp(file.data + 4, "TFL3", 4) == 0 &&
           whole_list(&file, root, CODES, whole_table) &&
           whole_list(&file, root, GRAPHS, whole_graph) &&
           whole_list(&file, root, BUFFERS, whole_buffer);
    munmap(data, file.size);
    return good;
}

/* ---------------------------------------------------------------- models */

typedef struct {
    char name[MAX_NAME + 1];
    Type type;
    int element; /* LiteRT's word */
    Layout layout;
    size_t count, bytes;
    float scale; /* 0: not quantized */
    int64_t zero_point;
    Index place; /* in the signature, whose order is not the graph's */
} Tensor;

typedef struct {
    Handle environment, model, options, compiled;
    Index signature, operators;
    Index input_count, output_count;
    Tensor *inputs, *outputs;              /* in the order of the graph, as the host knows them */
    Handle *input_buffers, *output_buffers; /* in the order of the signature */
    int64_t load_ns, init_ns;
    int accelerator, threads;
    bool profile;
    const Tensor *odd; /* an input or output that holds no numbers */
    char said[1200];   /* by LiteRT, while it loaded */
} Engine;

static bool add_option(Engine *engine, const char *name, const char *toml)
{
    Handle option = NULL;
    char *payload = resize(NULL, strlen(toml) + 1, 1);
    strcpy(payload, toml);
    if (rt.opaque(name, payload, free, &option) != STATUS_OK) {
        free(payload);
        return false;
    }
    return rt.add_opaque(engine->options, option) == STATUS_OK;
}

static bool prepare_options(Engine *engine)
{
    char toml[64];
    if (rt.options(&engine->options) != STATUS_OK ||
        rt.accelerators(engine->options, engine->accelerator) != STATUS_OK)
        return false;
    snprintf(toml, sizeof toml, "num_threads = %d\n", engine->threads);
    /* One is read by the compiled model, the other by XNNPACK, and since 2.2.0 only so. */
    return add_option(engine, "cpu_delegate", toml) && add_option(engine, "xnnpack", toml) &&
           (!engine->profile ||
            add_option(engine, "runtime_options_string", "enable_profiling = true\n"));
}

static Status make_environment(Engine *engine)
{
    char *folder = NULL;
    EnvironmentOption options[3];
    Status status;
    memset(options, 0, sizeof options);
    options[0].tag = OPTION_LEAST_SEVERITY;
    options[0].value.type = ANY_INT;
    options[0].value.is.integer = LOG_ERRORS;
    options[1] = options[0];
    options[1].tag = OPTION_ACCELERATORS;
    options[1].value.is.integer = ACCELERATOR_CPU;
    if (engine->accelerator != ACCELERATOR_CPU) {
        /* Libraries of a GPU or an NPU are looked for beside LiteRT's own. */
        char *slash;
        folder = resize(NULL, strlen(library_path) + 2, 1);
        strcpy(folder, library_path);
        slash = strrchr(folder, '/');
        strcpy(slash != NULL ? slash : folder, slash != NULL ? "" : ".");
        options[1].tag = OPTION_RUNTIME_FOLDER;
        options[1].value.type = ANY_TEXT;
        options[1].value.is.pointer = folder;
        options[2] = options[1];
        options[2].tag = OPTION_DISPATCH_FOLDER;
    }
    status = rt.environment(folder != NULL ? 3 : 2, options, &engine->environment);
    free(folder);
    return status;
}

/* The signature that stands for the main graph, which is what an Interpreter runs. */
static bool find_signature(Engine *engine, Handle *signature, Handle *graph)
{
    Index count = 0, main_index = 0, index;
    Handle found = NULL;
    if (rt.signature_count(engine->model, &count) != STATUS_OK || count == 0 ||
        rt.main_graph(engine->model, &main_index) != STATUS_OK ||
        rt.graph(engine->model, main_index, graph) != STATUS_OK)
        return false;
    for (index = 0; index < count; index++)
        if (rt.signature(engine->model, index, signature) == STATUS_OK &&
            rt.signature_graph(*signature, &found) == STATUS_OK && found == *graph) {
            engine->signature = index;
            return true;
        }
    engine->signature = 0;
    return rt.signature(engine->model, 0, signature) == STATUS_OK &&
           rt.signature_graph(*signature, graph) == STATUS_OK;
}

static bool describe(Handle handle, Tensor *tensor)
{
    const char *name = NULL;
    TensorType type;
    Quantization quantization;
    int kind = 0, index;
    memset(&type, 0, sizeof type);
    if (rt.tensor_type(handle, &type) != STATUS_OK)
        return false;
    if (rt.tensor_name(handle, &name) == STATUS_OK && name != NULL)
        snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->element = type.element;
    tensor->layout = type.layout;
    for (tensor->type = 0; tensor->type < OTHER; tensor->type++)
        if (types[tensor->type].element == type.element)
            break;
    if (rt.quantization_kind(handle, &kind) == STATUS_OK && kind == QUANTIZED_PER_TENSOR &&
        rt.quantization(handle, &quantization) == STATUS_OK) {
        tensor->scale = quantization.scale;
        tensor->zero_point = quantization.zero_point;
    }
    for (index = 0; index < (int)tensor->layout.rank; index++)
        if (tensor->layout.size[index] < 0)
            tensor->layout.size[index] = 1; /* a free axis: as the Interpreter, one */
    return true;
}

static bool measure_tensor(Tensor *tensor)
{
    int index;
    tensor->count = 1;
    if (tensor->layout.rank > MAX_RANK)
        return false;
    for (index = 0; index < (int)tensor->layout.rank; index++) {
        if (tensor->layout.size[index] < 0 || tensor->count > (size_t)INT32_MAX)
            return false;
        tensor->count *= (size_t)tensor->layout.size[index];
    }
    tensor->bytes = tensor->count * types[tensor->type].size;
    return true;
}

typedef Status CountCall(Handle, Index *);
typedef Status TensorCall(Handle, Index, Handle *);

/* Inputs or outputs, in the order of the graph, each with its place in the signature. */
static bool list_tensors(Handle signature, CountCall *count_in, TensorCall *get_in, Handle graph,
                         CountCall *count_of, TensorCall *get_of, Tensor **tensors, Index *count)
{
    Handle *named, wanted = NULL;
    Index total = 0, index, place, used = 0;
    bool *taken, good = true;
    if (count_in(signature, count) != STATUS_OK || *count == 0 || *count > MAX_TENSORS ||
        count_of(graph, &total) != STATUS_OK || total > MAX_TENSORS)
        return false;
    named = allocate(*count, sizeof *named);
    taken = allocate(*count, sizeof *taken);
    *tensors = allocate(*count, sizeof **tensors);
    for (place = 0; place < *count && good; place++)
        good = get_in(signature, place, &named[place]) == STATUS_OK;
    for (index = 0; index < total + *count && good; index++) {
        /* First those of the graph, then what only the signature names. */
        bool of_graph = index < total;
        if (of_graph && get_of(graph, index, &wanted) != STATUS_OK)
            good = false;
        for (place = of_graph ? 0 : index - total; good && place < *count; place++) {
            if (!taken[place] && (!of_graph || named[place] == wanted)) {
                taken[place] = true;
                (*tensors)[used].place = place;
                good = describe(named[place], &(*tensors)[used++]);
                break;
            }
            if (!of_graph)
                break;
        }
    }
    free(named);
    free(taken);
    return good && used == *count;
}

static bool make_buffers(Engine *engine)
{
    Index index;
    engine->input_buffers = allocate(engine->input_count, sizeof(Handle));
    engine->output_buffers = allocate(engine->output_count, sizeof(Handle));
    for (index = 0; index < engine->input_count + engine->output_count; index++) {
        bool input = index < engine->input_count;
        Tensor *tensor =
            input ? &engine->inputs[index] : &engine->outputs[index - engine->input_count];
        Handle needs = NULL, *buffer = input ? engine->input_buffers : engine->output_buffers;
        TensorType type;
        size_t size = 0;
        memset(&type, 0, sizeof type);
        type.element = tensor->element;
        type.layout = tensor->layout;
        buffer += tensor->place;
        if ((input ? rt.input_needs : rt.output_needs)(engine->compiled, engine->signature,
                                                       tensor->place, &needs) != STATUS_OK ||
            rt.buffer(engine->environment, &type, needs, buffer) != STATUS_OK ||
            rt.buffer_size(*buffer, &size) != STATUS_OK ||
            size < tensor->bytes)
            return false;
    }
    return true;
}

/* A compiled model with its buffers; again and again for models whose state must be fresh. */
static Status compile(Engine *engine)
{
    Layout *layouts;
    Index index;
    Status status = rt.compile(engine->environment, engine->model, engine->options,
                               &engine->compiled);
    if (status != STATUS_OK)
        return status;
    for (index = 0; index < engine->input_count && status == STATUS_OK; index++)
        status = rt.input_layout(engine->compiled, engine->signature, engine->inputs[index].place,
                                 &engine->inputs[index].layout);
    /* Only the allocation tells the sizes of outputs, and whether every operator is there. */
    layouts = allocate(engine->output_count, sizeof *layouts);
    if (status == STATUS_OK)
        status = rt.output_layouts(engine->compiled, engine->signature, engine->output_count,
                                   layouts, true);
    for (index = 0; index < engine->output_count && status == STATUS_OK; index++)
        engine->outputs[index].layout = layouts[engine->outputs[index].place];
    free(layouts);
    for (index = 0; index < engine->input_count && status == STATUS_OK; index++)
        status = measure_tensor(&engine->inputs[index]) ? STATUS_OK : STATUS_NO_MODEL;
    for (index = 0; index < engine->output_count && status == STATUS_OK; index++)
        status = measure_tensor(&engine->outputs[index]) ? STATUS_OK : STATUS_NO_MODEL;
    return status == STATUS_OK && !make_buffers(engine) ? STATUS_FAILED : status;
}

static void discard(Engine *engine)
{
    Index index;
    for (index = 0; index < engine->input_count; index++)
        rt.destroy_buffer(engine->input_buffers[index]);
    for (index = 0; index < engine->output_count; index++)
        rt.destroy_buffer(engine->output_buffers[index]);
    free(engine->input_buffers);
    free(engine->output_buffers);
    rt.destroy_compiled(engine->compiled);
}

/* The Failure for a model that LiteRT refused. */
static bool refused(const Engine *engine, const char *accelerator, Status status, Failure *failure)
{
    /* The Python agent has the same list. No operator has version 0: the file is damaged. */
    static const char *const lacking[] = {"unresolved custom op", "op version", "op code",
                                          "didn't find op", "select tf", NULL};
    const char *const *word;
    bool damaged = strcasestr(engine->said, "version '0'") != NULL;
    const char *said = engine->said[0] != '\0' ? engine->said : "no reason given";
    if (status == STATUS_NO_MEMORY)
        return fail(failure, "out_of_memory", "load", "", "the device is out of memory");
    if (status == STATUS_UNSUPPORTED)
        return fail(failure, "unsupported", "load",
                    "if it has a state, use the Python agent; no agent runs more than 8 axes",
                    "LiteRT %s has no C interface for this model: %s", library_version, said);
    for (word = lacking; *word != NULL && !damaged; word++)
        if (strcasestr(engine->said, *word) != NULL)
            return fail(failure, "unsupported_operator", "load",
                        "use a newer runtime on the device, or convert without that operator",
                        "LiteRT %s lacks an operator of this model: %s", library_version, said);
    if (engine->accelerator != ACCELERATOR_CPU)
        return fail(failure, "unsupported_accelerator", "load",
                    "use a cpu backend, or a libLiteRt.so with its accelerator's library beside it",
                    "the %s of this device cannot run the model: %s (status %d): %s", accelerator,
                    status_meaning(status), status, said);
    return fail(failure, "bad_model", "load", "",
                "LiteRT %s cannot load the model: %s (status %d): %s", library_version,
                status_meaning(status), status, said);
}

static const Tensor *odd_one(const Tensor *tensors, Index count)
{
    while (count > 0 && tensors->type != OTHER) {
        tensors++;
        count--;
    }
    return count > 0 ? tensors : NULL;
}

static Status open_model(Engine *engine, const char *path)
{
    Handle signature = NULL, graph = NULL;
    Status status = STATUS_OK;
    int64_t begin = now_ns(), loaded;
    if (engine->environment == NULL)
        status = make_environment(engine);
    if (status == STATUS_OK)
        status = wants_environment() ? rt.model_3(engine->environment, path, &engine->model)
                                     : rt.model_2(path, &engine->model);
    if (status != STATUS_OK)
        return status;
    if (!find_signature(engine, &signature, &graph) ||
        rt.operator_count(graph, &engine->operators) != STATUS_OK ||
        !list_tensors(signature, rt.signature_inputs, rt.signature_input, graph, rt.graph_inputs,
                      rt.graph_input, &engine->inputs, &engine->input_count) ||
        !list_tensors(signature, rt.signature_outputs, rt.signature_output, graph,
                      rt.graph_outputs, rt.graph_output, &engine->outputs, &engine->output_count))
        return STATUS_NO_MODEL;
    engine->odd = odd_one(engine->inputs, engine->input_count);
    if (engine->odd == NULL)
        engine->odd = odd_one(engine->outputs, engine->output_count);
    if (engine->odd != NULL)
        return STATUS_UNSUPPORTED;
    loaded = now_ns();
    engine->load_ns = loaded - begin;
    if (!prepare_options(engine))
        return STATUS_FAILED;
    status = compile(engine);
    engine->init_ns = now_ns() - loaded;
    return status;
}

/* Read the model of the request and make it ready. Engines of one process share `environment`,
 * where the first has made it. */
static bool load(const Json *request, Handle environment, bool profile, Engine *engine,
                 Failure *failure)
{
    const char *declared = member_text(member(request, "model"), "path");
    const char *accelerator = member(request, "accelerator") == NULL
                                  ? "cpu"
                                  : member_text(request, "accelerator");
    char *path;
    int64_t threads;
    struct stat status;
    Listening listening;
    Status result;
    bool beyond_cpu = false;
    memset(engine, 0, sizeof *engine);
    if (declared == NULL || !member_int(request, "threads", 1, 1, MAX_THREADS, &threads))
        return fail(failure, "bad_request", "load", "",
                    "model.path or threads is missing or wrong");
    if (accelerator == NULL)
        return fail(failure, "bad_request", "load", "", "accelerator is wrong");
    path = expanded(declared);
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return fail(failure, "bad_model", "load", "", "no model file at %s", path);
    if (strcmp(accelerator, "cpu") == 0)
        engine->accelerator = ACCELERATOR_CPU;
    else if (strcmp(accelerator, "gpu") == 0)
        engine->accelerator = ACCELERATOR_GPU;
    else if (strcmp(accelerator, "npu") == 0)
        engine->accelerator = ACCELERATOR_NPU;
    else
        return fail(failure, "unsupported_accelerator", "load", "use a cpu backend on this device",
                    "this agent cannot drive '%.60s'", accelerator);
    if (!is_whole(path))
        return fail(failure, "bad_model", "load", "is the file whole, and a .tflite?",
                    "%s is no whole TensorFlow Lite model", path);
    engine->threads = (int)threads;
    engine->profile = profile;
    engine->environment = environment;
    listen_begin(&listening);
    watch_crashes(true);
    result = open_model(engine, path);
    watch_crashes(false);
    listen_end(&listening, engine->said, sizeof engine->said);
    free(path);
    if (engine->odd != NULL)
        return fail(failure, "unsupported", "load", "",
                    "the tensor '%.100s' holds no numbers; agents carry nothing else",
                    engine->odd->name);
    if (result != STATUS_OK)
        return refused(engine, accelerator, result, failure);
    if (engine->accelerator == ACCELERATOR_CPU)
        return true;
    /* Status 0 does not say who runs it: only this does, and only since 2.3.0. */
    if (rt.beyond_cpu == NULL)
        return fail(failure, "unsupported_accelerator", "load", "use LiteRT 2.3.0 or later",
                    "this library cannot tell whether the %s runs the model", accelerator);
    if (rt.beyond_cpu(engine->compiled, &beyond_cpu) != STATUS_OK || !beyond_cpu)
        return fail(failure, "unsupported_accelerator", "load",
                    "choose a recipe whose operators the accelerator has, or a cpu backend",
                    "the %s does not run all of this model: the rest would run on the CPU",
                    accelerator);
    return true;
}

static void put_tensors(Text *text, const Tensor *tensors, Index count)
{
    Index index;
    put(text, "[");
    for (index = 0; index < count; index++) {
        const Tensor *tensor = &tensors[index];
        int axis;
        put(text, index > 0 ? ",{\"name\":" : "{\"name\":");
        put_string(text, tensor->name);
        put(text, ",\"shape\":[");
        for (axis = 0; axis < (int)tensor->layout.rank; axis++) {
            put(text, axis > 0 ? "," : "");
            put_int(text, tensor->layout.size[axis]);
        }
        put(text, "],\"dtype\":");
        put_string(text, types[tensor->type].name);
        put(text, ",\"scale\":");
        put_real(text, (double)tensor->scale);
        put(text, ",\"zero_point\":");
        put_int(text, tensor->zero_point);
        put(text, "}");
    }
    put(text, "]");
}

static void send_loaded(const Engine *engine)
{
    Text text = {0};
    put(&text, "{\"type\":\"loaded\",\"load_ns\":");
    put_int(&text, engine->load_ns);
    put(&text, ",\"init_ns\":");
    put_int(&text, engine->init_ns);
    put(&text, ",\"inputs\":");
    put_tensors(&text, engine->inputs, engine->input_count);
    put(&text, ",\"outputs\":");
    put_tensors(&text, engine->outputs, engine->output_count);
    put(&text, "}");
    send_line(&text);
    free(text.data);
}

static Status run(Engine *engine)
{
    return rt.run(engine->compiled, engine->signature, engine->input_count, engine->input_buffers,
                  engine->output_count, engine->output_buffers);
}

static bool invoke_failed(const char *stage, Status status, Failure *failure)
{
    return fail(failure, "invoke_failed", stage, "", "inference failed: %s (status %d)",
                status_meaning(status), status);
}

/* Facts of `done` that every action has; measured things go before. */
static void put_engine_facts(Text *text, const Engine *engine)
{
    char hex[65];
    bool all = false;
    put(text, ",\"delegated\":");
    if (rt.fully_accelerated != NULL &&
        rt.fully_accelerated(engine->compiled, &all) == STATUS_OK) {
        /* On the CPU the only delegate is XNNPACK; how much of a part it took is not told. */
        put(text, "{\"accelerator\":");
        put_string(text, engine->accelerator == ACCELERATOR_GPU   ? "gpu"
                         : engine->accelerator == ACCELERATOR_NPU ? "npu"
                         : all                                    ? "xnnpack"
                                                                  : "cpu");
        put(text, ",\"nodes\":");
        put_count_or_null(text, all ? (int64_t)engine->operators : -1);
        put(text, ",\"total\":");
        put_int(text, (int64_t)engine->operators);
        put(text, ",\"partitions\":null}");
    } else {
        put(text, "null");
    }
    put(text, ",\"cores\":");
    put_cores(text);
    put(text, ",\"library_sha256\":");
    put_text_or_null(text, sha256_file(library_path, hex) ? hex : NULL);
}

static void send_done(const Json *request, Text *facts)
{
    const Json *id = member(request, "id");
    Text text = {0};
    put(&text, "{\"type\":\"done\",\"id\":");
    put_bytes(&text, id != NULL ? id->raw : "null", id != NULL ? id->raw_size : 4);
    put(&text, ",\"facts\":{");
    if (facts->size > 0)
        put_bytes(&text, facts->data, facts->size);
    put(&text, "}}");
    send_line(&text);
    free(text.data);
}

/* ---------------------------------------------------------------- preprocessing
 * Stored samples into an input tensor, with the Python agent's arithmetic bit for bit: 32-bit
 * floats, one step after the other over the whole sample. */

typedef struct {
    Type from, to;
    size_t count, channels, row; /* elements of a sample, of its last axis, and bytes */
    float scale, *mean, *std;
    size_t means, stds; /* 1 or `channels` */
    bool shifts, divides, raw;
    float step, zero, low, high;
    float *real;
    unsigned char *table; /* of the 256 values that a byte has */
} Prepare;

/* One number, or a list of one or one per channel. */
static bool read_channels(const Json *preprocessing, const char *key, float fallback,
                          size_t channels, float **values, size_t *count)
{
    const Json *list = member(preprocessing, key), *item;
    *count = 1;
    if (list != NULL && list->type == JSON_ARRAY)
        for (*count = 0, item = list->first; item != NULL; item = item->next)
            ++*count;
    if (*count != 1 && *count != channels)
        return false;
    *values = resize(NULL, *count, sizeof **values);
    if (list == NULL) {
        **values = fallback;
        return true;
    }
    *count = 0;
    for (item = list->type == JSON_ARRAY ? list->first : list; item != NULL;
         item = list->type == JSON_ARRAY ? item->next : NULL) {
        if (item->type != JSON_INT && item->type != JSON_REAL)
            return false;
        (*values)[(*count)++] = (float)item->real;
    }
    return true;
}

static void prepare_convert(const Prepare *prepare, const unsigned char *from, unsigned char *to,
                            size_t count)
{
    float *real = prepare->to == F32 ? (float *)(void *)to : prepare->real;
    size_t index;
    if (prepare->raw) {
        size_t size = types[prepare->to].size, step = types[prepare->from].size;
        for (index = 0; index < count; index++) {
            int64_t value = 0;
            as_integers(prepare->from, from + index * step, &value, 1);
            store_integer(prepare->to, to + index * size, value);
        }
        return;
    }
    as_floats(prepare->from, from, real, count);
    if (prepare->scale != 1.0f)
        for (index = 0; index < count; index++)
            real[index] *= prepare->scale;
    if (prepare->shifts)
        for (index = 0; index < count; index++)
            real[index] -= prepare->mean[prepare->means == 1 ? 0 : index % prepare->means];
    if (prepare->divides)
        for (index = 0; index < count; index++)
            real[index] /= prepare->std[prepare->stds == 1 ? 0 : index % prepare->stds];
    switch (prepare->to) {
    case F32: return;
    case F16:
        for (index = 0; index < count; index++)
            memcpy(to + 2 * index, &(uint16_t){float_to_half(real[index])}, 2);
        return;
    case F64:
        for (index = 0; index < count; index++)
            memcpy(to + 8 * index, &(double){(double)real[index]}, 8);
        return;
    default: break;
    }
    for (index = 0; index < count; index++)
        real[index] /= prepare->step;
    for (index = 0; index < count; index++)
        real[index] = rintf(real[index]);
    for (index = 0; index < count; index++)
        real[index] += prepare->zero;
    for (index = 0; index < count; index++) {
        float value = real[index];
        value = value < prepare->low ? prepare->low : value > prepare->high ? prepare->high : value;
        store_integer(prepare->to, to + index * types[prepare->to].size, whole((double)value));
    }
}

/* A shape without its axes of length 1, for comparisons. */
static int squeezed(const int64_t *size, int rank, int64_t *kept)
{
    int index, count = 0;
    for (index = 0; index < rank; index++)
        if (size[index] != 1)
            kept[count++] = size[index];
    return count;
}

static const char *written_shape(const int64_t *size, int rank, char *room, size_t room_size)
{
    size_t used = 0;
    int index;
    snprintf(room, room_size, "[]");
    for (index = 0; index < rank && used + 24 < room_size; index++)
        used += (size_t)snprintf(room + used, room_size - used, "%s%" PRId64 "%s",
                                 index == 0 ? "[" : ", ", size[index],
                                 index == rank - 1 ? "]" : "");
    return room;
}

static bool prepare_open(const Json *request, const Tensor *tensor, const Samples *samples,
                         const char *stage, Prepare *prepare, Failure *failure)
{
    const Json *preprocessing = member(request, "preprocessing");
    int64_t shape[MAX_RANK], ours[MAX_RANK], theirs[MAX_SAMPLE_RANK];
    char first[128], second[256];
    int rank = (int)tensor->layout.rank, index, count;
    float *scale;
    size_t one;
    memset(prepare, 0, sizeof *prepare);
    for (index = 0; index < rank; index++)
        shape[index] = tensor->layout.size[index];
    if (rank < 1 || shape[0] != 1)
        return fail(failure, "bad_samples", stage, "convert the model with a batch of 1",
                    "the model's input has a fixed batch of %s, not 1",
                    written_shape(shape, rank, first, sizeof first));
    count = squeezed(shape + 1, rank - 1, ours);
    if (squeezed(samples->size + 1, samples->rank - 1, theirs) != count ||
        memcmp(ours, theirs, (size_t)count * sizeof *ours) != 0)
        return fail(failure, "bad_samples", stage, "",
                    "samples of shape %s do not fit the model's input %s",
                    written_shape(samples->size + 1, samples->rank - 1, second, sizeof second),
                    written_shape(shape + 1, rank - 1, first, sizeof first));
    if (!is_float(tensor->type) && !is_integer(tensor->type))
        return fail(failure, "bad_samples", stage, "", "the model's input holds no numbers");
    prepare->from = samples->type;
    prepare->to = tensor->type;
    prepare->count = tensor->count;
    prepare->row = samples->row;
    prepare->channels = rank > 1 ? (size_t)shape[rank - 1] : 1;
    if ((preprocessing != NULL && preprocessing->type != JSON_OBJECT &&
         preprocessing->type != JSON_NULL) ||
        !read_channels(preprocessing, "scale", 1.0f, 1, &scale, &one) ||
        !read_channels(preprocessing, "mean", 0.0f, prepare->channels, &prepare->mean,
                       &prepare->means) ||
        !read_channels(preprocessing, "std", 1.0f, prepare->channels, &prepare->std,
                       &prepare->stds))
        return fail(failure, "bad_request", stage, "", "preprocessing is wrong");
    prepare->scale = *scale;
    free(scale);
    for (one = 0; one < prepare->means; one++)
        prepare->shifts |= prepare->mean[one] != 0.0f;
    for (one = 0; one < prepare->stds; one++) {
        prepare->divides |= prepare->std[one] != 1.0f;
        if (prepare->std[one] == 0.0f)
            return fail(failure, "bad_request", stage, "", "preprocessing.std holds a zero");
    }
    prepare->raw = is_integer(tensor->type) && tensor->scale == 0.0f;
    prepare->step = tensor->scale;
    prepare->zero = (float)tensor->zero_point;
    prepare->low = (float)types[tensor->type].low;
    prepare->high = (float)types[tensor->type].high;
    prepare->real = resize(NULL, prepare->count > 256 ? prepare->count : 256, sizeof(float));
    if (samples->type == U8 && prepare->means == 1 && prepare->stds == 1) {
        unsigned char every[256];
        unsigned char *table = allocate(256, types[tensor->type].size);
        for (index = 0; index < 256; index++)
            every[index] = (unsigned char)index;
        prepare_convert(prepare, every, table, 256);
        prepare->table = table;
    }
    return true;
}

static void prepare_sample(const Prepare *prepare, const unsigned char *from, unsigned char *to)
{
    size_t index, size = types[prepare->to].size;
    if (prepare->table == NULL) {
        prepare_convert(prepare, from, to, prepare->count);
    } else if (size == 1) {
        for (index = 0; index < prepare->count; index++)
            to[index] = prepare->table[from[index]];
    } else {
        for (index = 0; index < prepare->count; index++)
            memcpy(to + index * size, prepare->table + from[index] * size, size);
    }
}

/* Fill an input: with a sample, or with zeros where there is none. */
static bool feed(Engine *engine, const Tensor *tensor, const Prepare *prepare,
                 const unsigned char *sample)
{
    Handle buffer = engine->input_buffers[tensor->place];
    void *memory = NULL;
    if (rt.lock(buffer, &memory, WRITING) != STATUS_OK || memory == NULL)
        return false;
    if (prepare != NULL)
        prepare_sample(prepare, sample, memory);
    else
        memset(memory, 0, tensor->bytes);
    return rt.unlock(buffer) == STATUS_OK;
}

/* ---------------------------------------------------------------- latency */

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

/* How the machine is `at` ns after the origin: before what is measured, and after it. */
static void note_conditions(Trial *trial, int64_t at)
{
    put(&trial->conditions, trial->conditions.size == 0 ? "{\"before\":" : ",\"after\":");
    put_conditions(&trial->conditions, at);
}

/* Behind another fact: the threads, and what `put_engine_facts` has. */
static void put_who_ran(Text *facts, const Json *request, const Engine *engine, const Trial *trial)
{
    int64_t asked;
    /* Libraries of accelerators have threads of their own. */
    bool counted = engine->accelerator == ACCELERATOR_CPU && trial->threads_before >= 0 &&
                   trial->threads_after >= 0;
    member_int(request, "threads", 1, 1, MAX_THREADS, &asked);
    put(facts, ",\"threads_asked\":");
    put_int(facts, asked);
    put(facts, ",\"threads_found\":");
    put_count_or_null(facts, counted ? trial->threads_after - trial->threads_before + 1 : -1);
    put_engine_facts(facts, engine);
}

/* The end of a trial, with the conditions before and after it noted. */
static void put_trial(Text *facts, const Json *request, const Engine *engine, Trial *trial)
{
    note_memory(trial, AT_END);
    put_steps(facts, "memory_peak_bytes", trial->peak);
    put(facts, ",");
    put_steps(facts, "memory_resident_bytes", trial->resident);
    put(facts, ",\"conditions\":");
    put_bytes(facts, trial->conditions.data, trial->conditions.size);
    put(facts, "}");
    put_who_ran(facts, request, engine, trial);
}

/* The first sample into the first input, zeros into the others. */
static bool feed_first(const Json *request, Engine *engine, const char *stage, Failure *failure)
{
    Samples samples;
    Prepare prepare;
    Index index;
    bool good = true;
    if (!open_samples(request, stage, &samples, failure) ||
        !prepare_open(request, &engine->inputs[0], &samples, stage, &prepare, failure))
        return false;
    for (index = 0; index < engine->input_count && good; index++)
        good = feed(engine, &engine->inputs[index], index == 0 ? &prepare : NULL, samples.data);
    free(prepare.real);
    free(prepare.table);
    return good || fail(failure, "invoke_failed", stage, "", "an input cannot be written");
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
    begin_trial(&trial);
    if (!load(request, NULL, false, &engine, failure))
        return false;
    send_loaded(&engine);
    note_memory(&trial, AT_LOAD);
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

/* ---------------------------------------------------------------- sustained
 * Minutes under load. Of an interval every `stride`-th duration is kept, the stride doubled each
 * time twice `trace_samples` are: see sustained.py of the Python agent for why. */

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
    begin_trial(&trial);
    if (!load(request, NULL, false, &engine, failure))
        return false;
    send_loaded(&engine);
    note_memory(&trial, AT_LOAD);
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

/* ---------------------------------------------------------------- sweep */

typedef struct {
    const Samples *samples;
    size_t count, step;
    bool reset;
    int64_t wanted[MAX_OUTPUTS]; /* places of outputs */
    int wanted_count;
    pthread_mutex_t lock; /* guards what follows */
    size_t next;
    bool failed;
    Failure failure;
} Sweep;

typedef struct {
    Sweep *sweep;
    Engine engine;
    Prepare prepare;
    unsigned char *rows[MAX_OUTPUTS];
    Text text;
} Worker;

/* Outputs of `count` samples from `first` on; a block never is more than one message holds. */
static void send_outputs(Worker *worker, int which, size_t first, size_t count)
{
    const Tensor *tensor = &worker->engine.outputs[worker->sweep->wanted[which]];
    bool rows = tensor->layout.rank > 0 && tensor->layout.size[0] == 1;
    Text *text = &worker->text;
    int axis;
    put(text, "{\"type\":\"outputs\",\"tensor\":");
    put_int(text, worker->sweep->wanted[which]);
    put(text, ",\"offset\":");
    put_int(text, (int64_t)first);
    put(text, ",\"shape\":[");
    put_int(text, (int64_t)count);
    if (rows) {
        for (axis = 1; axis < (int)tensor->layout.rank; axis++) {
            put(text, ",");
            put_int(text, tensor->layout.size[axis]);
        }
    } else {
        put(text, ",");
        put_int(text, (int64_t)tensor->count);
    }
    put(text, "],\"dtype\":");
    put_string(text, types[tensor->type].name);
    put(text, ",\"data\":\"");
    put_base64(text, worker->rows[which], count * tensor->bytes);
    put(text, "\"}");
    send_line(text);
}

static bool evaluate(Worker *worker, size_t first, size_t count, Failure *failure)
{
    Sweep *sweep = worker->sweep;
    Engine *engine = &worker->engine;
    size_t row;
    int which;
    for (row = 0; row < count; row++) {
        const unsigned char *sample = sweep->samples->data + (first + row) * sweep->samples->row;
        Status status;
        tell_progress();
        if (sweep->reset && first + row > 0) {
            /* The C interface cannot clear variables: a new compiled model has fresh ones. */
            discard(engine);
            status = compile(engine);
            if (status != STATUS_OK)
                return invoke_failed("accuracy", status, failure);
        }
        if (!feed(engine, &engine->inputs[0], &worker->prepare, sample))
            return fail(failure, "invoke_failed", "accuracy", "", "the input cannot be written");
        status = run(engine);
        if (status != STATUS_OK)
            return invoke_failed("accuracy", status, failure);
        for (which = 0; which < sweep->wanted_count; which++) {
            const Tensor *tensor = &engine->outputs[sweep->wanted[which]];
            Handle buffer = engine->output_buffers[tensor->place];
            void *memory = NULL;
            if (rt.lock(buffer, &memory, READING) != STATUS_OK || memory == NULL)
                return fail(failure, "invoke_failed", "accuracy", "", "an output cannot be read");
            memcpy(worker->rows[which] + row * tensor->bytes, memory, tensor->bytes);
            rt.unlock(buffer);
        }
    }
    for (which = 0; which < sweep->wanted_count; which++)
        send_outputs(worker, which, first, count);
    return true;
}

static void *work(void *argument)
{
    Worker *worker = argument;
    Sweep *sweep = worker->sweep;
    for (;;) {
        size_t first, count;
        Failure failure;
        bool done;
        pthread_mutex_lock(&sweep->lock);
        first = sweep->next;
        done = sweep->failed || first >= sweep->count;
        count = done ? 0 : sweep->count - first < sweep->step ? sweep->count - first : sweep->step;
        sweep->next += count;
        pthread_mutex_unlock(&sweep->lock);
        if (done)
            return NULL;
        if (!evaluate(worker, first, count, &failure)) {
            pthread_mutex_lock(&sweep->lock);
            if (!sweep->failed)
                sweep->failure = failure;
            sweep->failed = true;
            pthread_mutex_unlock(&sweep->lock);
            return NULL;
        }
    }
}

static bool read_wanted(const Json *request, const Engine *engine, Sweep *sweep, Failure *failure)
{
    const Json *list = member(request, "outputs"), *item;
    char room[64];
    int index;
    sweep->wanted_count = 0;
    if (list == NULL) {
        sweep->wanted[sweep->wanted_count++] = 0;
    } else {
        bool good = list->type == JSON_ARRAY && list->first != NULL;
        for (item = good ? list->first : NULL; item != NULL && good; item = item->next) {
            good = sweep->wanted_count < MAX_OUTPUTS && item->type == JSON_INT &&
                   item->integer >= 0 && item->integer < (int64_t)engine->output_count;
            for (index = 0; good && index < sweep->wanted_count; index++)
                good = sweep->wanted[index] != item->integer;
            if (good)
                sweep->wanted[sweep->wanted_count++] = item->integer;
        }
        if (!good)
            return fail(failure, "bad_request", "accuracy", "", "outputs %s of a model with %zu",
                        shown(request, "outputs", room, sizeof room), engine->output_count);
    }
    return true;
}

static bool open_worker(Worker *worker, Sweep *sweep, const Json *request, Failure *failure)
{
    int which;
    worker->sweep = sweep;
    if (!prepare_open(request, &worker->engine.inputs[0], sweep->samples, "accuracy",
                      &worker->prepare, failure))
        return false;
    for (which = 0; which < sweep->wanted_count; which++)
        worker->rows[which] =
            allocate(sweep->step, worker->engine.outputs[sweep->wanted[which]].bytes);
    return true;
}

static bool run_sweep(const Json *request, Text *facts, Failure *failure)
{
    Samples samples;
    Sweep sweep;
    Engine first;
    Worker *workers;
    pthread_t *threads;
    int64_t count, asked, used, started, begin;
    size_t largest = 1, index;
    char room[64];
    const Json *reset = member(request, "reset_variables");
    if (!load(request, NULL, false, &first, failure))
        return false;
    send_loaded(&first);
    if (!open_samples(request, "accuracy", &samples, failure))
        return false;
    if (!member_int(request, "count", (int64_t)samples.count, 1, (int64_t)samples.count, &count))
        return fail(failure, "bad_request", "accuracy", "", "count %s of %zu samples",
                    shown(request, "count", room, sizeof room), samples.count);
    if (!member_int(request, "workers", 1, 1, MAX_WORKERS, &asked))
        return fail(failure, "bad_request", "accuracy", "", "workers is wrong: %s",
                    shown(request, "workers", room, sizeof room));
    if (reset != NULL && reset->type != JSON_BOOL)
        return fail(failure, "bad_request", "accuracy", "", "reset_variables is wrong: %s",
                    shown(request, "reset_variables", room, sizeof room));
    if (first.input_count != 1)
        return fail(failure, "bad_samples", "accuracy", "",
                    "the model has %zu inputs; a sweep feeds exactly one", first.input_count);
    memset(&sweep, 0, sizeof sweep);
    pthread_mutex_init(&sweep.lock, NULL);
    sweep.samples = &samples;
    sweep.count = (size_t)count;
    sweep.reset = reset != NULL && reset->truth;
    if (!read_wanted(request, &first, &sweep, failure))
        return false;
    begin = now_ns();
    for (index = 0; index < (size_t)sweep.wanted_count; index++)
        if (first.outputs[sweep.wanted[index]].bytes > largest)
            largest = first.outputs[sweep.wanted[index]].bytes;
    sweep.step = MAX_CHUNK / largest;
    sweep.step = sweep.step < 1 ? 1 : sweep.step > BLOCK ? BLOCK : sweep.step;
    used = (int64_t)((sweep.count + sweep.step - 1) / sweep.step);
    used = used < asked ? used : asked;
    workers = allocate((size_t)used, sizeof *workers);
    threads = allocate((size_t)used, sizeof *threads);
    for (index = 0; index < (size_t)used; index++) {
        if (index == 0)
            workers[0].engine = first;
        else if (!load(request, first.environment, false, &workers[index].engine, failure))
            return false;
        if (!open_worker(&workers[index], &sweep, request, failure))
            return false;
    }
    /* This thread is the first worker; one that cannot be started leaves its share to others. */
    for (started = 1; started < used; started++)
        if (pthread_create(&threads[started], NULL, work, &workers[started]) != 0)
            break;
    work(&workers[0]);
    while (--started > 0)
        pthread_join(threads[started], NULL);
    if (sweep.failed) {
        *failure = sweep.failure;
        return false;
    }
    put(facts, "\"samples\":");
    put_int(facts, count);
    put(facts, ",\"elapsed_ns\":");
    put_int(facts, now_ns() - begin);
    put(facts, ",\"workers\":");
    put_int(facts, used);
    put(facts, ",\"batch\":1,\"memory_peak_bytes\":{\"end\":");
    put_count_or_null(facts, peak_memory());
    put(facts, "}");
    put_engine_facts(facts, &workers[0].engine);
    return true;
}

/* ---------------------------------------------------------------- scenarios
 * Queries as MLPerf's scenarios send them: see ../PROTOCOL.md, which this follows. */

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

static bool read_asked(const Json *request, Asked *asked, Failure *failure)
{
    const char *name = member_text(request, "scenario");
    const Json *loadgen = member(request, "loadgen");
    char room[64];
    size_t index;
    const struct {
        const char *name;
        int64_t *whole;
        double *real, fallback, low, high;
    } wanted[] = {
        {"samples_per_query", &asked->samples_per_query, NULL, 8, 1, MAX_SAMPLES_PER_QUERY},
        {"target_qps", NULL, &asked->target_qps, 0, 1e-3, 1e6},
        {"latency_bound_ms", NULL, &asked->latency_bound_ms, 0, 1e-6, 1e6},
        {"warmup_runs", &asked->warmup_runs, NULL, 1, 0, MAX_QUERIES},
        {"warmup_seconds", NULL, &asked->warmup_seconds, 0.5, 0, 86400},
        {"min_seconds", NULL, &asked->min_seconds, 2, 0, 86400},
        {"min_queries", &asked->min_queries, NULL, 100, 1, MAX_QUERIES},
        {"max_seconds", NULL, &asked->max_seconds, 60, 1e-3, 86400},
        {"seed", &asked->seed, NULL, 0, 0, 0x1p62},
    };
    memset(asked, 0, sizeof *asked);
    while (asked->scenario < SCENARIOS &&
           (name == NULL || strcmp(name, scenarios[asked->scenario]) != 0))
        asked->scenario++;
    if (asked->scenario == SCENARIOS)
        return fail(failure, "bad_request", "scenario",
                    "one of single_stream, multi_stream, offline, server", "scenario is wrong: %s",
                    shown(request, "scenario", room, sizeof room));
    for (index = 0; index < sizeof wanted / sizeof *wanted; index++) {
        const Json *value = member(request, wanted[index].name);
        bool needed = wanted[index].fallback < wanted[index].low && asked->scenario == SERVER;
        bool good = value == NULL ? !needed
                                  : value->type == JSON_INT ||
                                        (value->type == JSON_REAL && wanted[index].real != NULL);
        if (value != NULL && good)
            good = value->real >= wanted[index].low && value->real <= wanted[index].high;
        if (!good) {
            static char hint[120]; /* a Failure keeps the pointer */
            snprintf(hint, sizeof hint, "%s is %s, %.7g to %.7g", wanted[index].name,
                     wanted[index].whole != NULL ? "a whole number" : "a number",
                     wanted[index].low, wanted[index].high);
            return fail(failure, "bad_request", "scenario", hint, "%s is wrong: %s",
                        wanted[index].name,
                        shown(request, wanted[index].name, room, sizeof room));
        }
        if (wanted[index].whole != NULL)
            *wanted[index].whole =
                value != NULL ? value->integer : (int64_t)wanted[index].fallback;
        else
            *wanted[index].real = value != NULL ? value->real : wanted[index].fallback;
    }
    if (loadgen != NULL && loadgen->type != JSON_BOOL)
        return fail(failure, "bad_request", "scenario", "", "loadgen is wrong: %s",
                    shown(request, "loadgen", room, sizeof room));
    asked->loadgen = loadgen != NULL && loadgen->truth;
    return true;
}

/* Samples are in memory before any timing: each page of those that are used is read once. */
static void read_ahead(const Samples *samples, size_t count)
{
    volatile unsigned char seen = 0;
    size_t at;
    for (at = 0; at < count * samples->row; at += 4096)
        seen ^= samples->data[at];
    seen ^= samples->data[count * samples->row - 1];
    (void)seen;
}

static bool run_scenario(const Json *request, Text *facts, Failure *failure)
{
    Asked asked;
    Engine engine;
    Bench bench;
    char room[64];
    Trial trial;
    int64_t count;
    Index index;
    bool good;
    if (!read_asked(request, &asked, failure))
        return false;
    begin_trial(&trial);
    if (!load(request, NULL, false, &engine, failure))
        return false;
    send_loaded(&engine);
    note_memory(&trial, AT_LOAD);
    memset(&bench, 0, sizeof bench);
    bench.asked = &asked;
    bench.engine = &engine;
    if (!open_samples(request, "scenario", &bench.samples, failure))
        return false;
    if (!member_int(request, "count", (int64_t)bench.samples.count, 1,
                    (int64_t)bench.samples.count, &count))
        return fail(failure, "bad_request", "scenario", "", "count %s of %zu samples",
                    shown(request, "count", room, sizeof room), bench.samples.count);
    if (asked.loadgen)
        return fail(failure, "unsupported", "scenario",
                    "leave loadgen out, or use the Python agent, with mlcommons-loadgen beside it",
                    "the native agent does not run under loadgen");
    bench.count = (size_t)count;
    if (!prepare_open(request, &engine.inputs[0], &bench.samples, "scenario", &bench.prepare,
                      failure))
        return false;
    for (index = 1; index < engine.input_count; index++)
        if (!feed(&engine, &engine.inputs[index], NULL, NULL))
            return fail(failure, "invoke_failed", "scenario", "", "an input cannot be written");
    read_ahead(&bench.samples, bench.count);
    bench.log.first.phase = "first";
    bench.log.warm_up.phase = "warmup";
    bench.log.query.phase = "query";
    bench.log.service.phase = "service";
    bench.log.origin = bench.log.flushed = now_ns();
    good = warm_bench(&bench, failure);
    if (good && asked.scenario == SERVER)
        good = serve_queries(&bench, failure);
    else if (good && asked.scenario == OFFLINE)
        good = offline(&bench, failure);
    else if (good)
        good = stream(&bench, asked.scenario == MULTI_STREAM ? asked.samples_per_query : 1,
                      failure);
    log_flush(&bench.log);
    if (!good)
        return false;
    trial.threads_after = thread_count();
    put(facts, "\"scenario\":");
    put_string(facts, scenarios[asked.scenario]);
    put(facts, ",\"samples\":");
    put_int(facts, count);
    put(facts, ",\"queries\":");
    put_int(facts, bench.queries);
    put(facts, ",\"stopped_by\":");
    put_string(facts, bench.ended_by);
    put(facts, ",\"elapsed_ns\":");
    put_int(facts, bench.elapsed);
    if (asked.scenario == SERVER) {
        put(facts, ",\"waiting\":");
        put_int(facts, bench.waiting);
    }
    note_memory(&trial, AT_END);
    put(facts, ",");
    put_steps(facts, "memory_peak_bytes", trial.peak);
    put_who_ran(facts, request, &engine, &trial);
    return true;
}

/* ---------------------------------------------------------------- operators */

typedef struct {
    char name[120];
    bool delegated;
    uint64_t node, graph;
    int64_t elapsed_us, calls;
} Operator;

typedef struct {
    Operator *list;
    size_t count, at; /* `at`: where the current run has come to */
    int64_t runs;
    int64_t *elapsed; /* ns of each run */
    uint32_t *times;  /* us of each operator in each run, run by run; NULL: too many */
    bool differs;     /* the current run from the first, at `at` */
} Profile;

/* An operator is known by its place in a run: the numbers of a delegate's nodes begin anew in
 * each of its partitions. That only holds as long as every run has the same events. */
static void add_event(Profile *profile, const ProfilerEvent *event, int64_t run)
{
    Operator *operator = &profile->list[profile->at];
    char name[sizeof operator->name];
    if (profile->at == MAX_OPERATORS)
        return;
    snprintf(name, sizeof name, "%s", event->tag);
    if (run == 0) {
        memcpy(operator->name, name, sizeof name);
        operator->delegated =
            event->type != EVENT_OPERATOR || strstr(event->tag, "Delegate") != NULL;
        operator->node = event->node;
        operator->graph = event->extra;
        profile->count++;
    } else if (profile->at == profile->count || operator->node != event->node ||
               operator->graph != event->extra ||
               strcmp(operator->name, name) != 0) {
        profile->differs = true;
        return;
    }
    operator->elapsed_us += (int64_t)event->elapsed_us;
    if (profile->times != NULL)
        profile->times[(size_t)run * profile->count + profile->at] =
            event->elapsed_us < UINT32_MAX ? (uint32_t)event->elapsed_us : UINT32_MAX;
    operator->calls++;
    profile->at++;
}

/* The first run told how many operators there are. */
static void keep_times(Profile *profile)
{
    size_t place;
    if ((int64_t)profile->count > MAX_PROFILED / profile->runs)
        return;
    profile->times = allocate(profile->count * (size_t)profile->runs, sizeof *profile->times);
    for (place = 0; place < profile->count; place++)
        profile->times[place] = profile->list[place].elapsed_us < UINT32_MAX
                                    ? (uint32_t)profile->list[place].elapsed_us
                                    : UINT32_MAX;
}

/* One inference with the profiler on; the first one tells which operators there are. */
static Status profile_run(Engine *engine, Handle profiler, Profile *profile, int64_t index_of_run)
{
    ProfilerEvent *events;
    int count = 0, index;
    int64_t begin;
    Status status = rt.profiler_start(profiler);
    begin = now_ns();
    if (status == STATUS_OK)
        status = run(engine);
    profile->elapsed[index_of_run] = now_ns() - begin;
    rt.profiler_stop(profiler);
    if (status == STATUS_OK)
        status = rt.event_count(profiler, &count);
    if (status != STATUS_OK)
        return status;
    events = allocate((size_t)(count > 0 ? count : 0), sizeof *events);
    if (count > 0)
        status = rt.events(profiler, count, events);
    profile->at = 0;
    for (index = 0; index < count && status == STATUS_OK && !profile->differs; index++)
        if (events[index].tag != NULL &&
            (events[index].type == EVENT_OPERATOR || events[index].type == EVENT_DELEGATE ||
             events[index].type == EVENT_DELEGATE_PROFILED))
            add_event(profile, &events[index], index_of_run);
    profile->differs |= profile->at < profile->count;
    free(events);
    if (index_of_run == 0 && status == STATUS_OK)
        keep_times(profile);
    return status;
}

static void send_operators(const Profile *profile)
{
    Text text = {0};
    size_t index;
    int64_t run;
    put(&text, "{\"type\":\"operators\",\"unit\":\"ns\",\"resolution_ns\":1000,\"runs\":");
    put_int(&text, profile->runs);
    put(&text, ",\"elapsed\":[");
    for (run = 0; run < profile->runs; run++) {
        put(&text, run > 0 ? "," : "");
        put_int(&text, profile->elapsed[run]);
    }
    put(&text, "],\"operators\":[");
    for (index = 0; index < profile->count; index++) {
        const Operator *operator = &profile->list[index];
        put(&text, index > 0 ? ",{\"name\":" : "{\"name\":");
        put_string(&text, operator->name);
        put(&text, ",\"node\":");
        put_count_or_null(&text, operator->delegated ? -1 : (int64_t)operator->node);
        put(&text, ",\"graph\":");
        put_int(&text, (int64_t)operator->graph);
        put(&text, ",\"time\":");
        put_int(&text, operator->elapsed_us * 1000);
        for (run = 0; profile->times != NULL && run < profile->runs; run++) {
            put(&text, run > 0 ? "," : ",\"times\":[");
            put_int(&text, profile->times[(size_t)run * profile->count + index] * INT64_C(1000));
        }
        put(&text, profile->times != NULL ? "],\"calls\":" : ",\"calls\":");
        put_int(&text, operator->calls);
        put(&text, operator->delegated ? ",\"delegated\":true}" : ",\"delegated\":false}");
    }
    put(&text, "]}");
    send_line(&text);
    free(text.data);
}

static bool run_operators(const Json *request, Text *facts, Failure *failure)
{
    Limits limits;
    Engine engine;
    Profile profile = {0};
    Handle profiler = NULL;
    Status status = STATUS_OK;
    int64_t done, begin;
    if (!read_limits(request, "operators", &limits, failure))
        return false;
    if (!member_int(request, "runs", 50, 1, 100000, &profile.runs))
        return fail(failure, "bad_request", "operators", "", "runs is wrong");
    if (rt.profiler == NULL || rt.profiler_start == NULL || rt.profiler_stop == NULL ||
        rt.event_count == NULL || rt.events == NULL)
        return fail(failure, "unsupported", "operators", "", "this LiteRT has no profiler");
    if (!load(request, NULL, true, &engine, failure))
        return false;
    send_loaded(&engine);
    if (!feed_first(request, &engine, "operators", failure))
        return false;
    if (rt.profiler(engine.compiled, &profiler) != STATUS_OK || profiler == NULL)
        return fail(failure, "unsupported", "operators", "", "this LiteRT gives no profiler");
    begin = now_ns();
    done = 0;
    if (has_warm_up(&limits))
        do {
            tell_progress();
            status = run(&engine);
        } while (status == STATUS_OK && end_of(&limits.warm_up, ++done, begin, now_ns()) == NULL);
    profile.list = allocate(MAX_OPERATORS, sizeof *profile.list);
    profile.elapsed = allocate((size_t)profile.runs, sizeof *profile.elapsed);
    for (done = 0; status == STATUS_OK && !profile.differs && done < profile.runs; done++) {
        tell_progress();
        status = profile_run(&engine, profiler, &profile, done);
    }
    if (status != STATUS_OK)
        return invoke_failed("operators", status, failure);
    if (profile.differs)
        return fail(failure, "invoke_failed", "operators", "",
                    "run %" PRId64 " had other operators than the first from place %zu on", done,
                    profile.at);
    send_operators(&profile);
    put(facts, "\"memory_peak_bytes\":{\"end\":");
    put_count_or_null(facts, peak_memory());
    put(facts, "}");
    put_engine_facts(facts, &engine);
    return true;
}

/* ---------------------------------------------------------------- one request */

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
