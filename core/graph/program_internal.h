/* SPDX-License-Identifier: Apache-2.0 */
/* A program as its sources see it: values on storages, steps in execution order, segments. */
#ifndef LOCKSTEP_CORE_GRAPH_PROGRAM_INTERNAL_H
#define LOCKSTEP_CORE_GRAPH_PROGRAM_INTERNAL_H

#include "core/graph/program.h"
#include "core/ops/tape.h"

enum lsi_place {
    LSI_INPUT,
    LSI_VARIABLE,
    LSI_CONSTANT,
    LSI_ARENA,
    LSI_PARTIAL, /* the caller's buffer of a reduce */
    LSI_REDUCED,
    LSI_OUTPUT /* the caller's buffer of an output */
};

/* Memory of one value and of its reshapes. */
struct lsi_storage {
    enum lsi_place place;
    int index;      /* of the input, variable, reduce or output */
    void *constant; /* CONSTANT: owned */
    size_t bytes;
    size_t offset;   /* ARENA */
    int first, last; /* steps between which it must keep its bytes */
    int users;       /* steps and outputs that read it */
};

struct lsi_slot {
    enum ls_dtype dtype;
    struct ls_shape shape;
    enum ls_distribution distribution;
    int storage;
    int segment; /* in which it is complete; of a reduced value: from which it may be read */
};

enum lsi_step_kind { LSI_STEP_KERNEL, LSI_STEP_REDUCE, LSI_STEP_COPY };

struct lsi_step {
    enum lsi_step_kind kind;
    enum ls_op op;
    struct ls_op_attrs attrs;
    int *in; /* slots; part of program->links */
    int in_count;
    int out;   /* slot; COPY: none */
    int index; /* REDUCE: the reduce; COPY: the output */
    int segment;
    bool shards; /* the kernel is given the call's shards */
    size_t workspace_bytes, workspace_offset;
};

struct ls_program {
    struct ls_device *device;
    int shard_count; /* of the call it was traced for */
    int64_t samples;
    struct lsi_slot *slots;
    int slot_count;
    struct lsi_storage *storages;
    int storage_count;
    struct lsi_step *steps; /* by segment, then program order */
    int step_count;
    int *links;
    int *segment_begin; /* segment_count + 1 */
    int segment_count;
    struct ls_program_reduce *reduces;
    int reduce_count;
    struct ls_program_output *outputs;
    int *output_slots;
    int output_count;
    size_t arena_bytes;
};

/* Gives arena storages and workspaces their offsets by lifetime. */
enum ls_status lsi_program_plan(struct ls_program *program, struct ls_error *err);

#endif
