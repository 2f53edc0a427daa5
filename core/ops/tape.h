/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a context recorded, for those who walk it: core/autodiff backwards, core/graph to compile it. Also the
 * general form of a custom gradient, which global ops (batch normalisation) are made of.
 */
#ifndef LOCKSTEP_CORE_OPS_TAPE_H
#define LOCKSTEP_CORE_OPS_TAPE_H

#include "core/ops/context.h"

/* Most inputs of one op: kernels' views live on the stack. */
#define LS_MAX_INPUTS 64

/* What the gradient function of a custom value is asked. */
struct ls_custom_call {
    struct ls_context *context;
    void *state;
    struct ls_value *const *in; /* the rule's inputs */
    int in_count;
    struct ls_value *out;
    struct ls_value *adjoint; /* of out; replicated where out is replicated, already reduced */
    const bool *wanted;       /* per input: whether its adjoint is needed */
};

/* Applies ops in the context and sets in_adjoints[i] (NULL at the call; stays NULL where there is none): shape and
 * distribution of in[i]. An adjoint of a replicated input is already reduced: it is added after the tree. */
typedef enum ls_status (*ls_custom_rule_fn)(const struct ls_custom_call *call, struct ls_value **in_adjoints,
                                            struct ls_error *err);

struct ls_custom_rule {
    struct ls_value *const *in; /* copied */
    int in_count;
    ls_custom_rule_fn fn;
    void *state; /* borrowed until the context is reset (ls_context_memory gives such memory) */
};

/* A value with the bits of `value` whose gradient is the rule's: adjoints go to the rule's inputs, none to `value`
 * itself unless it is one of them. */
enum ls_status ls_value_custom_rule(struct ls_context *context, struct ls_value *value,
                                    const struct ls_custom_rule *rule, struct ls_value **out, struct ls_error *err);
/* Zeroed memory that lives until the context is reset; NULL when memory is short. */
void *ls_context_memory(struct ls_context *context, size_t bytes);

/* One recorded application. A custom value is a RESHAPE of in[0] with `custom` set. */
struct ls_node {
    enum ls_op op;
    struct ls_op_attrs attrs;
    struct ls_value *const *in;
    int in_count;
    struct ls_value *out;
    const struct ls_custom_rule *custom;
};

/* Nodes in program order; borrowed until reset. Pointers to nodes stay valid while more are recorded. */
int ls_tape_count(const struct ls_context *context);
const struct ls_node *ls_tape_node(const struct ls_context *context, int index);

/* Number of values made so far, and a value's place among them. */
int ls_value_count(const struct ls_context *context);
int ls_value_id(const struct ls_value *value);
/* Bytes of a constant (also in a traced context); NULL for other values of a traced one. */
const void *ls_value_constant_data(const struct ls_value *value);
/* A PARTIAL that still holds one running sum per shard, (shards, ...). */
bool ls_value_is_per_shard(const struct ls_value *value);
/* Whether the kernel of a node is given the call's shards: something is spread over samples. */
bool ls_node_needs_shards(const struct ls_node *node);

/* FILL takes its distribution from here: LS_REPLICATED, or PER_SAMPLE with dim[0] = samples * rows_per_sample. */
enum ls_status ls_apply_fill(struct ls_context *context, const struct ls_value_info *info, float value,
                             struct ls_value **out, struct ls_error *err);

/* Starts over for another call: like ls_context_reset, with these shards and step. */
void ls_context_restart(struct ls_context *context, const struct ls_shards *shards, const struct ls_step_info *step);

#endif
