/* Base64 (RFC 4648) of tensors, and SHA-256 (FIPS 180-4) of files. */

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
