/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of core/ops share: contexts, values, and the rules of the op table. */
#ifndef LOCKSTEP_CORE_OPS_CONTEXT_INTERNAL_H
#define LOCKSTEP_CORE_OPS_CONTEXT_INTERNAL_H

#include "core/ops/ops.h"
#include "core/ops/tape.h"

struct lsi_block;

/* Memory that ends all at once. */
struct lsi_pool {
    struct lsi_block *head;
};
void *lsi_pool_take(struct lsi_pool *pool, size_t bytes);
void lsi_pool_reset(struct lsi_pool *pool);

struct ls_value {
    struct ls_value_info info;
    bool per_shard; /* PARTIAL with one running sum per shard */
    int id;
    void *data;               /* NULL when traced */
    const void *constant;     /* CONSTANT: its bytes */
    struct ls_tensor *tensor; /* owns data; NULL: borrowed */
};

struct ls_context {
    struct ls_context_options options;
    struct lsi_pool pool;
    struct ls_value **values;
    int value_count, value_capacity;
    struct ls_node **nodes;
    int node_count, node_capacity;
    void *scratch;
    size_t scratch_bytes;
    bool recording;
};

/* A new value of the context (no memory of its own yet). */
enum ls_status lsi_value_new(struct ls_context *context, const struct ls_value_info *info, struct ls_value **value,
                             struct ls_error *err);

/* ---- the op table ---- */

struct lsi_rule_call {
    enum ls_op op;
    const struct ls_op_attrs *attrs;
    struct ls_value *const *in;
    int in_count;
    const struct ls_shards *shards;
};

struct lsi_result {
    struct ls_value_info info; /* dtype, shape, distribution, rows_per_sample */
    bool per_shard;
};

/* Checks dtypes, shapes and distributions and says what comes out. Called with the right number of inputs, none of
 * them PARTIAL unless the row takes partials. */
typedef enum ls_status (*lsi_rule_fn)(const struct lsi_rule_call *call, struct lsi_result *out, struct ls_error *err);

struct lsi_rule {
    lsi_rule_fn check;
    bool takes_partial;
};

const struct lsi_rule *lsi_op_rule(enum ls_op op);
/* Inputs that op_list.h states; -1: any number. */
int lsi_op_inputs(enum ls_op op);

/* Each family writes its rows. */
void lsi_rules_products(struct lsi_rule *table);
void lsi_rules_conv(struct lsi_rule *table);
void lsi_rules_batch(struct lsi_rule *table);
void lsi_rules_elements(struct lsi_rule *table);
void lsi_rules_rows(struct lsi_rule *table);
void lsi_rules_layout(struct lsi_rule *table);

/* ---- for rules ---- */

/* Sets LS_EINVAL "<op>: <message>". */
enum ls_status lsi_rule_fail(const struct lsi_rule_call *call, struct ls_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline const struct ls_value_info *lsi_in(const struct lsi_rule_call *call, int i)
{
    return &call->in[i]->info;
}
/* Input i has this dtype. */
enum ls_status lsi_rule_dtype(const struct lsi_rule_call *call, int i, enum ls_dtype dtype, struct ls_error *err);
/* Input i is f32 or f64, and what input 0 is. */
enum ls_status lsi_rule_float(const struct lsi_rule_call *call, int i, struct ls_error *err);
/* Input i is replicated and has this shape. */
enum ls_status lsi_rule_parameter(const struct lsi_rule_call *call, int i, const struct ls_shape *shape,
                                  struct ls_error *err);
/* Inputs i and j agree in shape, distribution and rows per sample. */
enum ls_status lsi_rule_same(const struct lsi_rule_call *call, int i, int j, struct ls_error *err);
/* Input i has at least `rank` dimensions. */
enum ls_status lsi_rule_rank(const struct lsi_rule_call *call, int i, int rank, struct ls_error *err);
/* Copies what input i is; the rule then changes what differs. */
void lsi_rule_like(const struct lsi_rule_call *call, int i, struct lsi_result *out);
/* A partial sum of this shape that began by `batch` (shape gets the shards in front where per_shard). Checks
 * input 0 where the sum is continued. */
enum ls_status lsi_rule_partial(const struct lsi_rule_call *call, const struct ls_batch_reduction *batch,
                                const struct ls_shape *shape, struct lsi_result *out, struct ls_error *err);
/* Whether b's shape is a suffix of a's (any rank; an empty one is a scalar). */
bool lsi_shape_is_suffix(const struct ls_shape *a, const struct ls_shape *b);

#endif
