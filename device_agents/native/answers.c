/* What every action says of a model, and one inference of it. */

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
