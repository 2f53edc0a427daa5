/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device runs kernels. This is what a caller may do; device_impl.h is what a back end fills in.
 * `ref` is plain C and the oracle; `cpu` gives the same bits fast, with threads and the best instruction set
 * (LOCKSTEP_ISA=ref|avx2|avx512 forces one).
 */
#ifndef LOCKSTEP_CORE_DEVICE_DEVICE_H
#define LOCKSTEP_CORE_DEVICE_DEVICE_H

#include "core/device/op_attrs.h"
#include "core/device/op_list.h"
#include "core/device/shards.h"
#include "core/tensor/tensor.h"

struct ls_device;

struct ls_device_options {
    int threads;     /* threads inside the replica, >= 1 */
    bool fast;       /* math: fast: products in a library's order (the OpenBLAS plug-in) */
    const char *isa; /* "ref", "avx2", "avx512"; NULL: LOCKSTEP_ISA, else the best this processor has. Borrowed. */
};
#define LS_DEVICE_OPTIONS_DEFAULT                \
    {                                            \
        .threads = 1, .fast = false, .isa = NULL \
    }

/* Opens "ref" or "cpu". LS_EINVAL: no such device or instruction set; LS_EUNSUPPORTED: this processor lacks it.
 * Returned; ends with ls_device_close. Sets round-to-nearest with denormals kept in the calling thread. */
enum ls_status ls_device_open(const char *name, const struct ls_device_options *options, struct ls_device **device,
                              struct ls_error *err);
void ls_device_close(struct ls_device *device);
/* "ref", "cpu/avx512" ... Static memory. */
const char *ls_device_name(const struct ls_device *device);
int ls_device_threads(const struct ls_device *device);
bool ls_device_supports(const struct ls_device *device, enum ls_op op);

/* What a kernel of a training step may need beside its operands. */
struct ls_step_info {
    uint64_t seed;
    uint64_t step; /* global step, counter of random streams */
    bool training;
};

/* One run of an op. All views are borrowed, contiguous, not overlapping (RESHAPE may be given the same memory).
 * dtypes and shapes were checked by core/ops. */
struct ls_op_call {
    enum ls_op op;
    const struct ls_op_attrs *attrs;
    const struct ls_view *in;
    int in_count;
    const struct ls_view *out;
    int out_count;
    const struct ls_shards *shards;  /* of the call; what batch reductions cut at. NULL: no per-sample operand */
    const struct ls_step_info *step; /* for random ops; may be NULL for others */
    void *workspace;                 /* ls_device_workspace bytes, 64-byte aligned; may be NULL where that is 0 */
};

/* Scratch bytes that the run will need (of the same shapes; views' data may be NULL). */
size_t ls_device_workspace(const struct ls_device *device, const struct ls_op_call *call);
/* Runs to the end; allocates nothing. LS_EUNSUPPORTED names the op. LS_EINVAL: data out of range (a label), named. */
enum ls_status ls_device_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err);

/* ---- sweeps over slices of variables (optimizers, sums, fingerprints): same bits on every device ---- */

struct ls_sgd_args {
    int64_t count;
    const float *w, *g, *v; /* v: momentum slot or NULL */
    float *w_out, *v_out;   /* may equal w, v */
    float learning_rate, momentum;
    bool nesterov;
};
void ls_device_sgd(struct ls_device *device, const struct ls_sgd_args *args);

struct ls_adam_args {
    int64_t count;
    const float *w, *g, *m, *v;
    float *w_out, *m_out, *v_out; /* may equal w, m, v */
    float alpha;                  /* lr * sqrt(1 - beta2^t) / (1 - beta1^t), f32 */
    float keep1, keep2, epsilon;  /* 1 - beta1, 1 - beta2 */
};
void ls_device_adam(struct ls_device *device, const struct ls_adam_args *args);

/* out = the canonical tree sum of the leaves, element-wise over count elements of dtype (f32, f64, i64).
 * out may not overlap a leaf unless it is exactly leaf 0. */
void ls_device_tree_sum(struct ls_device *device, enum ls_dtype dtype, const struct ls_tree_program *program,
                        const void *const *leaves, void *out, int64_t count);
/* Merges (count, mean, M2) triples of `channels` along the tree: leaves and out are f32 (3, channels). */
void ls_device_tree_moments(struct ls_device *device, const struct ls_tree_program *program, const void *const *leaves,
                            float *out, int64_t channels);
/* Sum modulo 2^64 over chunks of 4,096 elements of XXH3-64(little-endian bytes with NaN made canonical,
 * seed = first_chunk + i). */
uint64_t ls_device_fingerprint_f32(struct ls_device *device, const float *data, int64_t count, uint64_t first_chunk);

#endif
