/* A .npy file (format 1.0, in C order), mapped: numpy.lib.format describes it. */

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
