/* Types of elements: of stored samples, as NumPy names them, and of tensors, as LiteRT does. */

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
