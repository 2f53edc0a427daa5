/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep inspect: what a checkpoint holds, verified as it is read. */
#include "cli/command.h"
#include "core/base/alloc.h"
#include "core/ckpt/ckpt.h"
#include "core/nn/model.h"

#include <jansson.h>
#include <stdio.h>

static const char *role_name(int role)
{
    switch (role) {
    case LS_ROLE_TRAINABLE:
        return "trainable";
    case LS_ROLE_STATE:
        return "state";
    case LS_ROLE_SLOT:
        return "slot";
    case LS_ROLE_COUNTER:
        return "counter";
    case LS_ROLE_COMPRESSION:
        return "compression";
    }
    return "?";
}

static void print_text(const struct ls_ckpt *ckpt)
{
    int64_t elements = 0;

    printf("%s: step %llu, written by generation %llu, every part verified\n", ls_ckpt_path(ckpt),
           (unsigned long long)ls_ckpt_step(ckpt), (unsigned long long)ls_ckpt_generation(ckpt));
    for (int i = 0; i < ls_ckpt_tensor_count(ckpt); i++) {
        const struct ls_ckpt_tensor *t = ls_ckpt_tensor_at(ckpt, i);
        char shape[128];

        printf("  %-44s %-11s %-9s %s\n", t->path, role_name(t->role), ls_dtype_name(t->dtype),
               ls_shape_text(&t->shape, shape));
        if (t->role == LS_ROLE_TRAINABLE)
            elements += ls_shape_count(&t->shape);
    }
    printf("%d tensors, %lld trainable parameters\n", ls_ckpt_tensor_count(ckpt), (long long)elements);
}

static void print_json(const struct ls_ckpt *ckpt)
{
    json_t *tensors = json_array(), *meta = json_loads(ls_ckpt_meta_json(ckpt), 0, NULL), *o;

    for (int i = 0; i < ls_ckpt_tensor_count(ckpt); i++) {
        const struct ls_ckpt_tensor *t = ls_ckpt_tensor_at(ckpt, i);
        json_t *shape = json_array();

        for (int d = 0; d < t->shape.rank; d++)
            (void)json_array_append_new(shape, json_integer(t->shape.dim[d]));
        (void)json_array_append_new(tensors,
                                    json_pack("{s:s, s:s, s:s, s:o}", "path", t->path, "role", role_name(t->role),
                                              "dtype", ls_dtype_name(t->dtype), "shape", shape));
    }
    o = json_pack("{s:s, s:I, s:I, s:o, s:o}", "path", ls_ckpt_path(ckpt), "step", (json_int_t)ls_ckpt_step(ckpt),
                  "generation", (json_int_t)ls_ckpt_generation(ckpt), "tensors", tensors, "meta",
                  meta != NULL ? meta : json_null());
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    bool json = false;
    const char *path;
    const struct ls_option options[] = {{"json", NULL, "print one line of JSON", LS_OPTION_FLAG, &json},
                                        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    struct ls_ckpt *ckpt = NULL;
    char *fell_back = NULL;
    enum ls_status status = ls_options_parse(command, options, argc, argv, 1, 1, &path, err);

    if (status == LS_OK)
        status = ls_ckpt_open(path, &ckpt, &fell_back, err);
    if (status == LS_OK && fell_back != NULL)
        fprintf(stderr, "lockstep: %s\n", fell_back);
    ls_free(fell_back);
    if (status == LS_OK && json)
        print_json(ckpt);
    else if (status == LS_OK)
        print_text(ckpt);
    ls_ckpt_close(ckpt);
    return status;
}

const struct ls_command ls_cmd_inspect = {.name = "inspect",
                                          .arguments = "CHECKPOINT [--json]",
                                          .summary = "Show what a checkpoint holds, and verify it",
                                          .run = run};
