/* SPDX-License-Identifier: Apache-2.0 */
/* A program as text: one line a step. */
#include "core/graph/program_internal.h"

#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/ops/ops.h"

static void add_place(struct ls_buf *buf, const struct ls_program *program, int slot)
{
    static const char *const names[] = {"input", "variable", "constant", "arena", "partial", "reduced", "output"};
    const struct lsi_slot *s = &program->slots[slot];
    const struct lsi_storage *storage = &program->storages[s->storage];
    char text[128];

    if (storage->place == LSI_ARENA)
        ls_buf_append_format(buf, "arena+%zu", storage->offset);
    else if (storage->place == LSI_CONSTANT)
        ls_buf_append_string(buf, "constant");
    else
        ls_buf_append_format(buf, "%s[%d]", names[storage->place], storage->index);
    ls_buf_append_format(buf, " %s%s", ls_dtype_name(s->dtype), ls_shape_text(&s->shape, text));
}

static void add_step(struct ls_buf *buf, const struct ls_program *program, const struct lsi_step *step)
{
    ls_buf_append_format(buf, "segment %d: ", step->segment);
    if (step->kind == LSI_STEP_KERNEL)
        add_place(buf, program, step->out);
    else
        ls_buf_append_format(buf, "%s[%d]", step->kind == LSI_STEP_REDUCE ? "partial" : "output", step->index);
    ls_buf_append_format(buf, " = %s(", step->kind == LSI_STEP_COPY ? "copy" : ls_op_name(step->op));
    for (int j = 0; j < step->in_count; j++) {
        ls_buf_append_string(buf, j > 0 ? ", " : "");
        add_place(buf, program, step->in[j]);
    }
    ls_buf_append_string(buf, ")");
    if (step->workspace_bytes > 0)
        ls_buf_append_format(buf, " workspace %zu at arena+%zu", step->workspace_bytes, step->workspace_offset);
    ls_buf_append_string(buf, "\n");
}

char *ls_program_text(const struct ls_program *program)
{
    struct ls_buf buf = {0};

    ls_buf_append_format(&buf, "%lld samples in %d shards, %d segments, %d reduces, arena %zu bytes\n",
                         (long long)program->samples, program->shard_count, program->segment_count,
                         program->reduce_count, program->arena_bytes);
    for (int i = 0; i < program->step_count; i++)
        add_step(&buf, program, &program->steps[i]);
    ls_buf_append(&buf, "", 1);
    if (buf.failed) {
        ls_buf_deinit(&buf);
        return NULL;
    }
    return (char *)buf.data;
}
