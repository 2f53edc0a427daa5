/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From recorded nodes to a program: what outputs need, in program order within segments; reshapes become other names
 * of a storage; a partial sum that only its REDUCE reads, and an output, are written where the caller wants them.
 */
#include "core/graph/program_internal.h"

#include "core/base/alloc.h"

#include <limits.h>
#include <string.h>

/* Tables by value id or node index, for the time of compiling. */
struct compiler {
    struct ls_context *context;
    struct ls_program *program;
    int node_count, value_count;
    int *producer; /* by value: its node, or -1 */
    int *slot;     /* by value: its slot, or -1 */
    int *segment;  /* by node */
    bool *needed;  /* by node */
    struct ls_error *err;
};

static void compiler_deinit(struct compiler *c)
{
    ls_free(c->producer);
    ls_free(c->slot);
    ls_free(c->segment);
    ls_free(c->needed);
}

void ls_program_destroy(struct ls_program *program)
{
    if (program == NULL)
        return;
    for (int i = 0; i < program->storage_count; i++)
        ls_free(program->storages[i].constant);
    ls_free(program->slots);
    ls_free(program->storages);
    ls_free(program->steps);
    ls_free(program->links);
    ls_free(program->segment_begin);
    ls_free(program->reduces);
    ls_free(program->outputs);
    ls_free(program->output_slots);
    ls_free(program);
}

/* Marks the nodes that outputs need. */
static enum ls_status mark_needed(struct compiler *c, struct ls_value *const *outputs, int output_count)
{
    for (int id = 0; id < c->value_count; id++)
        c->producer[id] = c->slot[id] = -1;
    for (int i = 0; i < c->node_count; i++)
        c->producer[ls_value_id(ls_tape_node(c->context, i)->out)] = i;
    for (int o = 0; o < output_count; o++) {
        int node = c->producer[ls_value_id(outputs[o])];

        if (node >= 0)
            c->needed[node] = true;
    }
    for (int i = c->node_count - 1; i >= 0; i--) {
        const struct ls_node *node = ls_tape_node(c->context, i);

        for (int j = 0; c->needed[i] && j < node->in_count; j++) {
            int from = c->producer[ls_value_id(node->in[j])];

            if (from >= 0)
                c->needed[from] = true;
        }
    }
    return LS_OK;
}

/* Segment in which a value may first be read. */
static int segment_of(const struct compiler *c, const struct ls_value *value)
{
    int node = c->producer[ls_value_id(value)];

    if (node < 0)
        return 0;
    return c->segment[node] + (ls_tape_node(c->context, node)->op == LS_OP_REDUCE ? 1 : 0);
}

/* A node runs in the first segment in which all it reads is there; what reads nothing (FILL) where it is first read. */
static void find_segments(struct compiler *c)
{
    for (int i = 0; i < c->node_count; i++) {
        const struct ls_node *node = ls_tape_node(c->context, i);

        for (int j = 0; j < node->in_count; j++) {
            int segment = segment_of(c, node->in[j]);

            c->segment[i] = segment > c->segment[i] ? segment : c->segment[i];
        }
    }
    for (int i = 0; i < c->node_count; i++) {
        const struct ls_node *node = ls_tape_node(c->context, i);

        if (c->needed[i] && node->in_count == 0)
            c->segment[i] = INT_MAX;
        for (int j = 0; c->needed[i] && j < node->in_count; j++) {
            int from = c->producer[ls_value_id(node->in[j])];

            if (from >= 0 && ls_tape_node(c->context, from)->in_count == 0 && c->segment[i] < c->segment[from])
                c->segment[from] = c->segment[i];
        }
    }
    for (int i = 0; i < c->node_count; i++)
        c->segment[i] = c->segment[i] == INT_MAX ? 0 : c->segment[i];
}

static int add_storage(struct compiler *c, enum lsi_place place, int index, size_t bytes)
{
    struct ls_program *p = c->program;

    p->storages[p->storage_count] =
        (struct lsi_storage){.place = place, .index = index, .bytes = bytes, .first = -1, .last = -1};
    return p->storage_count++;
}

static int add_slot(struct compiler *c, const struct ls_value *value, int storage)
{
    const struct ls_value_info *info = ls_value_info(value);
    struct ls_program *p = c->program;

    p->slots[p->slot_count] = (struct lsi_slot){.dtype = info->dtype,
                                                .shape = info->shape,
                                                .distribution = info->distribution,
                                                .storage = storage,
                                                .segment = segment_of(c, value)};
    c->slot[ls_value_id(value)] = p->slot_count;
    return p->slot_count++;
}

/* The slot of a value that entered the context. */
static enum ls_status enter(struct compiler *c, const struct ls_value *value)
{
    const struct ls_value_info *info = ls_value_info(value);
    struct ls_view view = ls_value_view(value);
    int storage;

    if (c->slot[ls_value_id(value)] >= 0)
        return LS_OK;
    if (info->kind == LS_VALUE_RESULT)
        return ls_error_set(c->err, LS_EINVAL, "a program needs a value that was not recorded");
    storage = add_storage(c,
                          info->kind == LS_VALUE_INPUT      ? LSI_INPUT
                          : info->kind == LS_VALUE_VARIABLE ? LSI_VARIABLE
                                                            : LSI_CONSTANT,
                          info->index, ls_view_bytes(&view));
    if (info->kind == LS_VALUE_CONSTANT) {
        void *copy = ls_alloc_aligned(ls_view_bytes(&view));

        if (copy == NULL)
            return ls_error_set(c->err, LS_ENOMEM, "no memory for a constant");
        if (ls_view_bytes(&view) > 0)
            memcpy(copy, ls_value_constant_data(value), ls_view_bytes(&view));
        c->program->storages[storage].constant = copy;
    }
    add_slot(c, value, storage);
    return LS_OK;
}

static enum ls_status add_step(struct compiler *c, int i, int *link_count)
{
    const struct ls_node *node = ls_tape_node(c->context, i);
    struct ls_program *p = c->program;
    struct ls_view view = ls_value_view(node->out);
    struct lsi_step *step;

    for (int j = 0; j < node->in_count; j++) {
        enum ls_status status = enter(c, node->in[j]);

        if (status != LS_OK)
            return status;
    }
    if (node->op == LS_OP_RESHAPE) {
        add_slot(c, node->out, p->slots[c->slot[ls_value_id(node->in[0])]].storage);
        return LS_OK;
    }
    step = &p->steps[p->step_count++];
    *step = (struct lsi_step){.kind = node->op == LS_OP_REDUCE ? LSI_STEP_REDUCE : LSI_STEP_KERNEL,
                              .op = node->op,
                              .attrs = node->attrs,
                              .in = p->links + *link_count,
                              .in_count = node->in_count,
                              .segment = c->segment[i],
                              .shards = ls_node_needs_shards(node)};
    for (int j = 0; j < node->in_count; j++)
        step->in[j] = c->slot[ls_value_id(node->in[j])];
    *link_count += node->in_count;
    step->out =
        add_slot(c, node->out,
                 add_storage(c, step->kind == LSI_STEP_REDUCE ? LSI_REDUCED : LSI_ARENA, -1, ls_view_bytes(&view)));
    return LS_OK;
}

/* Steps of segments in order, program order within one (a stable counting sort); numbers the reduces. */
static enum ls_status order_steps(struct compiler *c)
{
    struct ls_program *p = c->program;
    struct lsi_step *sorted = ls_alloc_zeroed((size_t)p->step_count + (size_t)p->output_count, sizeof(*sorted));
    int at = 0;

    if (sorted == NULL)
        return ls_error_set(c->err, LS_ENOMEM, "no memory for %d steps", p->step_count);
    for (int i = 0; i < p->step_count; i++)
        if (p->steps[i].segment >= p->segment_count)
            p->segment_count = p->steps[i].segment + 1;
    for (int segment = 0; segment < p->segment_count; segment++)
        for (int i = 0; i < p->step_count; i++)
            if (p->steps[i].segment == segment)
                sorted[at++] = p->steps[i];
    ls_free(p->steps);
    p->steps = sorted;
    for (int i = 0; i < p->step_count; i++) {
        struct lsi_step *step = &p->steps[i];
        const struct lsi_slot *partial;

        if (step->kind != LSI_STEP_REDUCE)
            continue;
        partial = &p->slots[step->in[0]];
        step->index = p->reduce_count;
        p->storages[p->slots[step->out].storage].index = p->reduce_count;
        p->reduces[p->reduce_count++] = (struct ls_program_reduce){.dtype = partial->dtype,
                                                                   .shape = partial->shape,
                                                                   .moments = step->attrs.reduce.moments,
                                                                   .segment = step->segment};
    }
    return LS_OK;
}

static void count_users(struct ls_program *p)
{
    for (int i = 0; i < p->step_count; i++)
        for (int j = 0; j < p->steps[i].in_count; j++)
            p->storages[p->slots[p->steps[i].in[j]].storage].users++;
    for (int o = 0; o < p->output_count; o++)
        p->storages[p->slots[p->output_slots[o]].storage].users++;
}

/* Partial sums and outputs that are written straight to the caller's memory. */
static void place_results(struct ls_program *p)
{
    count_users(p);
    for (int i = 0; i < p->step_count; i++) {
        struct lsi_storage *from;

        if (p->steps[i].kind != LSI_STEP_REDUCE)
            continue;
        from = &p->storages[p->slots[p->steps[i].in[0]].storage];
        if (from->place == LSI_ARENA && from->users == 1) {
            from->place = LSI_PARTIAL;
            from->index = p->steps[i].index;
        }
    }
    for (int o = 0; o < p->output_count; o++) {
        const struct lsi_slot *slot = &p->slots[p->output_slots[o]];
        struct lsi_storage *from = &p->storages[slot->storage];
        bool reduced = from->place == LSI_REDUCED;

        p->outputs[o] = (struct ls_program_output){.reduce = reduced ? from->index : -1,
                                                   .dtype = slot->dtype,
                                                   .shape = slot->shape,
                                                   .distribution = slot->distribution,
                                                   .segment = reduced ? slot->segment - 1 : slot->segment};
        if (from->place == LSI_ARENA) {
            from->place = LSI_OUTPUT;
            from->index = o;
        }
    }
}

/* Puts a copy at the end of its segment for each output that is not written in place. */
static void add_copies(struct ls_program *p)
{
    for (int o = 0; o < p->output_count; o++) {
        const struct lsi_storage *from = &p->storages[p->slots[p->output_slots[o]].storage];
        int segment = p->outputs[o].segment, at = p->step_count;

        if (p->outputs[o].reduce >= 0 || (from->place == LSI_OUTPUT && from->index == o))
            continue;
        while (at > 0 && p->steps[at - 1].segment > segment)
            at--;
        memmove(p->steps + at + 1, p->steps + at, (size_t)(p->step_count - at) * sizeof(*p->steps));
        p->steps[at] = (struct lsi_step){.kind = LSI_STEP_COPY,
                                         .op = LS_OP_COUNT,
                                         .in = &p->output_slots[o],
                                         .in_count = 1,
                                         .out = -1,
                                         .index = o,
                                         .segment = segment};
        p->step_count++;
    }
}

static void find_lifetimes(struct ls_program *p)
{
    for (int i = 0; i < p->step_count; i++) {
        const struct lsi_step *step = &p->steps[i];

        if (step->kind == LSI_STEP_KERNEL) {
            p->storages[p->slots[step->out].storage].first = i;
            p->storages[p->slots[step->out].storage].last = i;
        }
        for (int j = 0; j < step->in_count; j++)
            p->storages[p->slots[step->in[j]].storage].last = i;
    }
}

static void ask_workspaces(struct ls_program *p, const struct ls_context *context)
{
    for (int i = 0; i < p->step_count; i++) {
        struct lsi_step *step = &p->steps[i];
        struct ls_view in[LS_MAX_INPUTS], out;
        struct ls_op_call call = {.op = step->op,
                                  .attrs = &step->attrs,
                                  .in = in,
                                  .in_count = step->in_count,
                                  .out = &out,
                                  .out_count = 1,
                                  .shards = step->shards ? ls_context_shards(context) : NULL,
                                  .step = ls_context_step(context)};

        if (step->kind != LSI_STEP_KERNEL)
            continue;
        for (int j = 0; j < step->in_count; j++)
            in[j] = (struct ls_view){.dtype = p->slots[step->in[j]].dtype, .shape = p->slots[step->in[j]].shape};
        out = (struct ls_view){.dtype = p->slots[step->out].dtype, .shape = p->slots[step->out].shape};
        step->workspace_bytes = ls_device_workspace(p->device, &call);
    }
}

static enum ls_status index_segments(struct ls_program *p, struct ls_error *err)
{
    p->segment_begin = ls_alloc_zeroed((size_t)p->segment_count + 1, sizeof(int));
    if (p->segment_begin == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for %d segments", p->segment_count);
    for (int i = 0; i < p->step_count; i++)
        p->segment_begin[p->steps[i].segment + 1] = i + 1;
    for (int s = 1; s <= p->segment_count; s++)
        if (p->segment_begin[s] < p->segment_begin[s - 1])
            p->segment_begin[s] = p->segment_begin[s - 1];
    return LS_OK;
}

static enum ls_status build_steps(struct compiler *c, struct ls_value *const *outputs)
{
    struct ls_program *p = c->program;
    enum ls_status status = LS_OK;
    int link_count = 0;

    for (int i = 0; i < c->node_count && status == LS_OK; i++)
        if (c->needed[i])
            status = add_step(c, i, &link_count);
    for (int o = 0; o < p->output_count && status == LS_OK; o++) {
        status = enter(c, outputs[o]);
        if (status == LS_OK)
            p->output_slots[o] = c->slot[ls_value_id(outputs[o])];
    }
    return status;
}

static enum ls_status allocate(struct compiler *c, int output_count)
{
    struct ls_program *p = c->program;
    size_t nodes = (size_t)c->node_count, values = (size_t)c->value_count, links = 0, reduces = 0;

    for (int i = 0; i < c->node_count; i++) {
        links += (size_t)ls_tape_node(c->context, i)->in_count;
        reduces += ls_tape_node(c->context, i)->op == LS_OP_REDUCE ? 1 : 0;
    }
    c->producer = ls_alloc_zeroed(values, sizeof(int));
    c->slot = ls_alloc_zeroed(values, sizeof(int));
    c->segment = ls_alloc_zeroed(nodes, sizeof(int));
    c->needed = ls_alloc_zeroed(nodes, sizeof(bool));
    p->slots = ls_alloc_zeroed(values, sizeof(*p->slots));
    p->storages = ls_alloc_zeroed(values, sizeof(*p->storages));
    p->steps = ls_alloc_zeroed(nodes, sizeof(*p->steps));
    p->links = ls_alloc_zeroed(links, sizeof(int));
    p->reduces = ls_alloc_zeroed(reduces, sizeof(*p->reduces));
    p->outputs = ls_alloc_zeroed((size_t)output_count, sizeof(*p->outputs));
    p->output_slots = ls_alloc_zeroed((size_t)output_count, sizeof(int));
    if (c->producer == NULL || c->slot == NULL || c->segment == NULL || c->needed == NULL || p->slots == NULL ||
        p->storages == NULL || p->steps == NULL || p->links == NULL || p->reduces == NULL || p->outputs == NULL ||
        p->output_slots == NULL)
        return ls_error_set(c->err, LS_ENOMEM, "no memory for a program of %d nodes", c->node_count);
    p->output_count = output_count;
    p->segment_count = 1;
    return LS_OK;
}

static enum ls_status compile(struct compiler *c, struct ls_value *const *outputs, int output_count)
{
    enum ls_status status = allocate(c, output_count);

    if (status == LS_OK)
        status = mark_needed(c, outputs, output_count);
    if (status != LS_OK)
        return status;
    find_segments(c);
    status = build_steps(c, outputs);
    if (status == LS_OK)
        status = order_steps(c);
    if (status != LS_OK)
        return status;
    place_results(c->program);
    add_copies(c->program);
    find_lifetimes(c->program);
    ask_workspaces(c->program, c->context);
    status = index_segments(c->program, c->err);
    return status == LS_OK ? lsi_program_plan(c->program, c->err) : status;
}

enum ls_status ls_program_compile(struct ls_context *context, struct ls_value *const *outputs, int output_count,
                                  struct ls_device *device, struct ls_program **program, struct ls_error *err)
{
    const struct ls_shards *shards = ls_context_shards(context);
    struct compiler c = {
        .context = context, .node_count = ls_tape_count(context), .value_count = ls_value_count(context), .err = err};
    enum ls_status status;

    if (!ls_context_is_traced(context))
        return ls_error_set(err, LS_EINVAL, "only a traced context can be compiled into a program");
    c.program = ls_alloc_zeroed(1, sizeof(*c.program));
    if (c.program == NULL)
        return ls_error_set(err, LS_ENOMEM, "no memory for a program");
    c.program->device = device;
    c.program->shard_count = shards->count;
    c.program->samples = shards->offset[shards->count];
    status = compile(&c, outputs, output_count);
    compiler_deinit(&c);
    if (status != LS_OK) {
        ls_program_destroy(c.program);
        return status;
    }
    *program = c.program;
    return LS_OK;
}
