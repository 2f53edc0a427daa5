/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A traced context made into a program: dead nodes pruned, element-wise work fused where bits stay, memory planned
 * by lifetime, run with no allocation. A REDUCE cuts a program into segments: segment s may use reduced values
 * of segments before s only. The caller owns all memory and finishes reductions between segments, so one program
 * serves any strategy.
 */
#ifndef LOCKSTEP_CORE_GRAPH_PROGRAM_H
#define LOCKSTEP_CORE_GRAPH_PROGRAM_H

#include "core/ops/context.h"

struct ls_program;

/* One REDUCE of the program, in the order in which partials become ready. */
struct ls_program_reduce {
    enum ls_dtype dtype;
    struct ls_shape shape;
    bool moments;
    int segment; /* its partial is complete when this segment has run */
};

/* Where an output's bytes are found after the last segment. */
struct ls_program_output {
    int reduce; /* >= 0: it is exactly this reduce's value, nothing is copied; -1: in buffers->outputs[i] */
    enum ls_dtype dtype;
    struct ls_shape shape;
    enum ls_distribution distribution;
    int segment; /* complete after this segment */
};

/* Compiles what `outputs` need. outputs are values of the traced context, which may be destroyed afterwards.
 * Returned; ends with ls_program_destroy. The program runs on `device` (borrowed). */
enum ls_status ls_program_compile(struct ls_context *context, struct ls_value *const *outputs, int output_count,
                                  struct ls_device *device, struct ls_program **program, struct ls_error *err);
void ls_program_destroy(struct ls_program *program);

int ls_program_segment_count(const struct ls_program *program);
int ls_program_reduce_count(const struct ls_program *program);
const struct ls_program_reduce *ls_program_reduce_at(const struct ls_program *program, int reduce);
const struct ls_program_output *ls_program_output_at(const struct ls_program *program, int output);
/* Bytes of scratch that one call needs; kept by the caller from its first segment to its last. */
size_t ls_program_arena_bytes(const struct ls_program *program);
/* Writes one line a node (op, shapes, segment, memory offset) for --dump and tests. Returned text: ls_free. */
char *ls_program_text(const struct ls_program *program);

struct ls_program_buffers {
    const void *const *inputs;    /* by input index */
    const void *const *variables; /* by variable index */
    void *const *partials;        /* by reduce: where this call's partial goes */
    const void *const *reduced;   /* by reduce: valid before a later segment runs */
    void *const *outputs;         /* by output: where it goes; ignored where output.reduce >= 0 */
    void *arena;                  /* ls_program_arena_bytes, 64-byte aligned */
    const struct ls_shards *shards;
    const struct ls_step_info *step;
    /* Called, if not NULL, as soon as partial `reduce` of this run is complete (in the caller's thread). */
    void (*on_partial)(void *state, int reduce);
    void *on_partial_state;
};

/* Runs one segment of one call. Segments run in order 0, 1, ...; every reduce of the segments before is in
 * buffers->reduced. Allocates nothing. */
enum ls_status ls_program_run(struct ls_program *program, int segment, const struct ls_program_buffers *buffers,
                              struct ls_error *err);

#endif
