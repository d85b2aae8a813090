/* A stand-in for libedgetpu.so.1 without an accelerator behind it.
 *
 * It exports what the harness uses of the real one: the external delegate's two functions
 * (tensorflow/lite/delegates/external/external_delegate_interface.h), and the listing of
 * edgetpu_c.h. The delegate really takes the operator edgetpu-custom-op of a compiled file and
 * computes outputs from the input's bytes: FNV-1a of them seeds a linear congruential generator.
 *
 * The structures below declare what is used of the public tflite/core/c/common.h; only the order
 * and the size of fields matter to the runtimes.
 *
 * FAKE_EDGETPU_DEVICES  "usb=/sys/bus/usb/devices/2-1 pci=/dev/apex_0", in the library's order
 * FAKE_EDGETPU_TAKEN    a path among them that cannot be opened
 * FAKE_EDGETPU_FAULT    misfit: the operator cannot be prepared; unclaimed: nothing is taken
 * FAKE_EDGETPU_LOG      a file that gets the path of each accelerator that was opened
 * FAKE_EDGETPU_UPLOAD_MS  what the first inference takes longer
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int Status;
typedef struct { int size; int data[]; } IntArray;

typedef struct {
  int type;
  void *data;
  IntArray *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  struct Delegate *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  struct { int type; void *params; } quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;

typedef struct {
  IntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
} Node; /* its beginning */

typedef struct Context Context;

typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  Status (*prepare)(Context *, Node *);
  Status (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external;
  void *async_kernel;
  uint64_t inplace_operator;
} Registration;

typedef struct Delegate {
  void *data;
  Status (*prepare)(Context *, struct Delegate *);
  void *copy_from, *copy_to, *free_buffer;
  int64_t flags;
  void *opaque_builder;
} Delegate;

struct Context { /* its beginning */
  size_t tensors_size;
  Status (*get_execution_plan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  Status (*resize_tensor)(Context *, Tensor *, IntArray *);
  void (*report_error)(Context *, const char *, ...);
  Status (*add_tensors)(Context *, int, int *);
  Status (*get_node)(Context *, int, Node **, Registration **);
  Status (*replace_nodes)(Context *, Registration, const IntArray *, Delegate *);
};

enum { OK = 0, ERROR = 1, ALLOW_DYNAMIC_TENSORS = 1, MAX_DEVICES = 16 };

struct edgetpu_device { int type; const char *path; };

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

static size_t devices(struct edgetpu_device *found) {
  static char text[4096];
  size_t count = 0;
  snprintf(text, sizeof text, "%s", setting("FAKE_EDGETPU_DEVICES"));
  for (char *rest, *item = strtok_r(text, " ", &rest); item && count < MAX_DEVICES;
       item = strtok_r(NULL, " ", &rest)) {
    found[count].type = strncmp(item, "usb=", 4) == 0;
    found[count++].path = item + 4;
  }
  return count;
}

struct edgetpu_device *edgetpu_list_devices(size_t *count) {
  struct edgetpu_device *found = calloc(MAX_DEVICES, sizeof *found);
  *count = devices(found);
  if (*count == 0) {
    free(found);
    return NULL;
  }
  return found;
}

void edgetpu_free_devices(struct edgetpu_device *found) { free(found); }

const char *edgetpu_version(void) { return "BuildLabel(fake), RuntimeVersion(14)"; }

static void *init(Context *context, const char *buffer, size_t length) {
  (void)context, (void)buffer, (void)length;
  return calloc(1, sizeof(int));
}

static void release(Context *context, void *state) {
  (void)context;
  free(state);
}

static Status prepare(Context *context, Node *node) {
  if (strcmp(setting("FAKE_EDGETPU_FAULT"), "misfit") == 0) {
    context->report_error(context, "Internal: Unsupported data type in custom op handler: 0");
    return ERROR;
  }
  for (int i = 0; i < node->inputs->size; i++) {
    const Tensor *input = &context->tensors[node->inputs->data[i]];
    if (input->dims->size > 1 && input->dims->data[0] != 1) {
      context->report_error(context, "Internal: one sample at a time");
      return ERROR;
    }
  }
  return OK;
}

static Status invoke(Context *context, Node *node) {
  uint64_t seed = 14695981039346656037u;
  for (int i = 0; i < node->inputs->size; i++) {
    const Tensor *input = &context->tensors[node->inputs->data[i]];
    for (size_t at = 0; at < input->bytes; at++)
      seed = (seed ^ ((const uint8_t *)input->data)[at]) * 1099511628211u;
  }
  for (int i = 0; i < node->outputs->size; i++) {
    Tensor *output = &context->tensors[node->outputs->data[i]];
    for (size_t at = 0; at < output->bytes; at++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      ((uint8_t *)output->data)[at] = (uint8_t)(seed >> 56);
    }
  }
  int *uploaded = node->user_data;
  if (!*uploaded) {
    long ms = atol(setting("FAKE_EDGETPU_UPLOAD_MS"));
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    *uploaded = 1;
  }
  return OK;
}

static Status take(Context *context, Delegate *delegate) {
  Registration kernel = {0};
  kernel.init = init, kernel.free = release, kernel.prepare = prepare, kernel.invoke = invoke;
  kernel.custom_name = "EdgeTpuDelegateForCustomOp", kernel.version = 1;
  if (strcmp(setting("FAKE_EDGETPU_FAULT"), "unclaimed") == 0) return OK;
  IntArray *plan;
  if (context->get_execution_plan(context, &plan) != OK) return ERROR;
  int nodes[64], count = 0;
  for (int i = 0; i < plan->size && count < 64; i++) {
    Node *node;
    Registration *own;
    if (context->get_node(context, plan->data[i], &node, &own) != OK) return ERROR;
    if (own->custom_name && strcmp(own->custom_name, "edgetpu-custom-op") == 0)
      nodes[count++] = plan->data[i];
  }
  for (int i = 0; i < count; i++) {
    struct { int size; int data[1]; } one = {1, {nodes[i]}};
    if (context->replace_nodes(context, kernel, (IntArray *)&one, delegate) != OK) return ERROR;
  }
  return OK;
}

/* As the real one: NULL without a word where the device cannot be had. */
Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t options,
                                        void (*report)(const char *)) {
  struct edgetpu_device found[MAX_DEVICES];
  size_t count = devices(found);
  const char *wanted = "";
  (void)report;
  for (size_t i = 0; i < options; i++)
    if (strcmp(keys[i], "device") == 0) wanted = values[i];
  int type = strncmp(wanted, "usb", 3) == 0 ? 1 : strncmp(wanted, "pci", 3) == 0 ? 0 : -1;
  const char *colon = strchr(wanted, ':');
  int index = colon ? atoi(colon + 1) : 0;
  for (size_t i = 0; i < count; i++) {
    if ((type >= 0 && found[i].type != type) || index-- > 0) continue;
    if (strcmp(found[i].path, setting("FAKE_EDGETPU_TAKEN")) == 0) {
      if (colon) return NULL;
      index = 0;
      continue;
    }
    Delegate *delegate = calloc(1, sizeof *delegate);
    delegate->prepare = take;
    delegate->flags = ALLOW_DYNAMIC_TENSORS;
    const char *log = setting("FAKE_EDGETPU_LOG");
    FILE *file = *log ? fopen(log, "a") : NULL;
    if (file) {
      fprintf(file, "%s\n", found[i].path);
      fclose(file);
    }
    return delegate;
  }
  return NULL;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
