/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk that ls_gradient makes, as its rules see it. A rule gets the adjoint of a node's result and gives
 * adjoints to the node's inputs. Failures stick in the walk: helpers then return NULL and do nothing, so that rules
 * need no checks.
 */
#ifndef LOCKSTEP_CORE_AUTODIFF_BACKWARD_INTERNAL_H
#define LOCKSTEP_CORE_AUTODIFF_BACKWARD_INTERNAL_H

#include "core/ops/ops.h"
#include "core/ops/tape.h"

/* One adjoint of a replicated value, with the use that it comes from. */
struct lsi_term {
    struct lsi_term *next; /* an earlier use */
    int position;          /* node that uses the value, INT_MAX for a seed */
    enum ls_op op;         /* batch reduction, or LS_OP_COUNT: `dy` is the replicated adjoint itself */
    struct ls_conv2d_attrs conv;
    struct ls_value *x, *dy; /* operands of the reduction; x is NULL for ROW_SUM */
};

/* What the walk knows of a value that was there when it began. */
struct lsi_adjoint {
    bool depends; /* on a source */
    bool reaches; /* a target */
    bool source;
    bool spread_any;             /* used by per-sample ops, itself or as a reshape or transpose */
    bool spread_other;           /* ... other than as w of DENSE in its own layout, which a transpose may pass on */
    int uses;                    /* roots: nodes of the walk that use it */
    const struct ls_node *alias; /* RESHAPE or TRANSPOSE2D that counts as its input; NULL: a root */
    struct ls_value *sum;        /* per-sample and partial values: what has come so far. Roots: the result */
    struct lsi_term *spread;     /* roots: batch reductions to come, last use first */
    struct lsi_term *plain;      /* roots: replicated adjoints, last use first */
    int first_use;               /* roots: the first node of the walk that uses it; its adjoint is then complete */
    bool complete;
};

struct lsi_backward {
    struct ls_context *context;
    struct lsi_adjoint *adjoints; /* by value id */
    int node_count;               /* of the tape when the walk began */
    int position;                 /* node that the walk is at */
    enum ls_status status;
    struct ls_error *err;
};

typedef void (*lsi_gradient_fn)(struct lsi_backward *b, const struct ls_node *node, struct ls_value *dy);

/* Rule of an op; NULL: it has no gradient. */
lsi_gradient_fn lsi_gradient_rule(enum ls_op op);
void lsi_gradients_products(lsi_gradient_fn *table);
void lsi_gradients_conv(lsi_gradient_fn *table);
void lsi_gradients_batch(lsi_gradient_fn *table);
void lsi_gradients_elements(lsi_gradient_fn *table);
void lsi_gradients_rows(lsi_gradient_fn *table);
void lsi_gradients_layout(lsi_gradient_fn *table);

static inline struct lsi_adjoint *lsi_adjoint_of(struct lsi_backward *b, const struct ls_value *value)
{
    return &b->adjoints[ls_value_id(value)];
}
static inline bool lsi_is_per_sample(const struct ls_value *value)
{
    return ls_value_info(value)->distribution == LS_PER_SAMPLE;
}

/* ---- the frontier (frontier.c) ---- */

/* What a node's adjoints go to: its inputs, or those of its custom rule. */
struct ls_value *const *lsi_node_sources(const struct ls_node *node, int *count);
/* Finds which reshapes and transposes count as the value they are of, and first uses. */
void lsi_frontier_prepare(struct lsi_backward *b);
/* Adds an adjoint of value: like it in shape and distribution (replicated for a partial sum). */
void lsi_give_value(struct lsi_backward *b, struct ls_value *value, struct ls_value *adjoint);
/* Finishes a root: the chain of batch reductions, the tree, REDUCE, then the replicated adjoints. */
void lsi_frontier_complete(struct lsi_backward *b, struct ls_value *root);
/* After node `position`: completes the roots among its inputs whose first use it was. */
void lsi_frontier_passed(struct lsi_backward *b, const struct ls_node *node);

/* ---- for rules (emit.c) ---- */

/* Whether input i depends on a source. */
bool lsi_wants(struct lsi_backward *b, const struct ls_node *node, int i);
/* Adjoint of input i. */
void lsi_give(struct lsi_backward *b, const struct ls_node *node, int i, struct ls_value *adjoint);
/* Adjoint of input i, replicated, of a per-sample node: a batch reduction of x and dy (DENSE_WGRAD, CONV2D_WGRAD with
 * conv, ROW_SUM with x NULL, ROW_DOT; rows hold all of the input's elements). */
void lsi_give_reduction(struct lsi_backward *b, const struct ls_node *node, int i, enum ls_op op,
                        const struct ls_conv2d_attrs *conv, struct ls_value *x, struct ls_value *dy);
/* Adjoint of input i that was broadcast over leading dimensions: the sum of dy, or of x dy, over them. */
void lsi_give_suffix(struct lsi_backward *b, const struct ls_node *node, int i, struct ls_value *dy);
void lsi_give_suffix_dot(struct lsi_backward *b, const struct ls_node *node, int i, struct ls_value *x,
                         struct ls_value *dy);
/* LS_EUNSUPPORTED: "<op>: <what> has no gradient". */
void lsi_no_gradient(struct lsi_backward *b, const struct ls_node *node, const char *what);

struct ls_value *lsi_emit(struct lsi_backward *b, enum ls_op op, const struct ls_op_attrs *attrs,
                          struct ls_value *const *in, int in_count);
struct ls_value *lsi_emit1(struct lsi_backward *b, enum ls_op op, struct ls_value *x);
struct ls_value *lsi_emit2(struct lsi_backward *b, enum ls_op op, struct ls_value *x, struct ls_value *y);
struct ls_value *lsi_emit_affine(struct lsi_backward *b, struct ls_value *x, float scale, float offset);
/* The same value where it has the shape. */
struct ls_value *lsi_emit_reshape(struct lsi_backward *b, struct ls_value *x, const struct ls_shape *shape);
/* One number in the shape, dtype and distribution of `like`. */
struct ls_value *lsi_emit_fill(struct lsi_backward *b, const struct ls_value *like, float value);
/* A suffix repeated to the shape and distribution of `like`. */
struct ls_value *lsi_emit_broadcast(struct lsi_backward *b, struct ls_value *suffix, const struct ls_value *like);
/* (.., a, b) -> (rows, last): all elements, the last dimension kept. */
struct ls_value *lsi_emit_matrix(struct lsi_backward *b, struct ls_value *x, int64_t last);

#endif
