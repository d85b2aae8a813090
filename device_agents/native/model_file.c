/* LiteRT follows the offsets of a file without a look at where they lead, so those that a cut file
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
