/* SPDX-License-Identifier: Apache-2.0 */
/* What a device back end fills in. Callers include device.h only. */
#ifndef LOCKSTEP_CORE_DEVICE_DEVICE_IMPL_H
#define LOCKSTEP_CORE_DEVICE_DEVICE_IMPL_H

#include "core/device/device.h"

/* Terms of one block of a sum, and positions of one block of a batch reduction (docs/numerics.md): part of the
 * result. */
#define LSI_BLOCK 256

/* Cuts [0, count) into at most `threads` runs of multiples of `grain` and calls fn for each, on the device's
 * threads; returns when all are done. fn must write disjoint memory; the cut must not change any bit. */
typedef void (*lsi_range_fn)(void *state, int64_t begin, int64_t end, int thread);
void lsi_device_parallel(struct ls_device *device, int64_t count, int64_t grain, lsi_range_fn fn, void *state);

typedef enum ls_status (*lsi_kernel_fn)(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err);
typedef size_t (*lsi_workspace_fn)(const struct ls_device *device, const struct ls_op_call *call);

/* One op's kernel. A table is an array indexed by enum ls_op; an empty row falls back to the next table. */
struct lsi_kernel {
    lsi_kernel_fn run;
    lsi_workspace_fn workspace; /* NULL: none */
    /* NULL: always; else whether this kernel takes the call (shapes, dtypes) or leaves it to the next table. */
    bool (*accepts)(const struct ls_device *device, const struct ls_op_call *call);
};

/* Kernels that the device asks before its own: how a test replaces some. The table, an array as above, outlives it. */
void lsi_device_prepend(struct ls_device *device, const struct lsi_kernel *table);

/* The sweeps of device.h on a range, one table an instruction set. */
struct lsi_sweeps {
    void (*sgd)(const struct ls_sgd_args *args);
    void (*adam)(const struct ls_adam_args *args);
    void (*tree_sum_f32)(const struct ls_tree_program *program, const void *const *leaves, float *out, int64_t begin,
                         int64_t end);
    /* For fingerprints, count floats each: whether one is NaN; XXH3 of them (64 bits). */
    bool (*has_nan)(const float *data, int64_t count);
    uint64_t (*xxh3)(const float *data, int64_t count, uint64_t seed);
};

/* Name of an op by op_list.h, for sentences. Static memory. */
const char *lsi_device_op_name(enum ls_op op);

/* Plain C, the oracle: complete. Families fill their rows from their own file (ref/<family>.c). */
const struct lsi_kernel *lsi_ref_kernels(void);
const struct lsi_sweeps *lsi_ref_sweeps(void);
/* Fast kernels of one instruction set; rows may be empty. NULL where this build has none. */
const struct lsi_kernel *lsi_cpu_kernels_avx2(void);
const struct lsi_kernel *lsi_cpu_kernels_avx512(void);
const struct lsi_sweeps *lsi_cpu_sweeps_avx2(void);
const struct lsi_sweeps *lsi_cpu_sweeps_avx512(void);

/* Per-family registration: each writes its rows into a table of LS_OP_COUNT. Named lsi_<table>_<family>. */
void lsi_ref_products(struct lsi_kernel *table); /* dense, dense_wgrad */
void lsi_ref_conv(struct lsi_kernel *table);     /* conv2d and its gradients, pooling */
void lsi_ref_batch(struct lsi_kernel *table);    /* row_sum, row_dot, shard_tree, sums, moments, bn */
void lsi_ref_elements(struct lsi_kernel *table); /* element-wise, cast, dropout */
void lsi_ref_rows(struct lsi_kernel *table);     /* softmax, cross-entropies, hits, gather */
void lsi_ref_layout(struct lsi_kernel *table);   /* reshape, transpose, concat, slice, fill */
/* The same for an instruction set: lsi_cpu_products_avx2(table), lsi_cpu_elements_avx512(table) ... */
#define LSI_CPU_FAMILIES(isa)                              \
    void lsi_cpu_products_##isa(struct lsi_kernel *table); \
    void lsi_cpu_conv_##isa(struct lsi_kernel *table);     \
    void lsi_cpu_batch_##isa(struct lsi_kernel *table);    \
    void lsi_cpu_elements_##isa(struct lsi_kernel *table); \
    void lsi_cpu_rows_##isa(struct lsi_kernel *table);
LSI_CPU_FAMILIES(avx2)
LSI_CPU_FAMILIES(avx512)

/* exp, log, tanh correctly rounded in f32 (core/device/ref/transcendental.c), for every kernel's scalar tail. */
float lsi_exp_f32(float x);
float lsi_log_f32(float x);
float lsi_tanh_f32(float x);

#endif
