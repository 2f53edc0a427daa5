/* SPDX-License-Identifier: Apache-2.0 */
/*
 * math: fast: the products in a library's order. The plug-in is looked for in LOCKSTEP_PLUGINS, beside the program
 * (plugins/, ../plugins/) and where installation puts it (../lib/lockstep and its kin).
 */
#include "core/device/cpu/blas_ops.h"
#include "core/device/device_internal.h"
#include "core/device/products.h"

#include "core/base/alloc.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN_FILE "lockstep_openblas.so"
#if defined(__x86_64__)
#define LIB_TRIPLE "x86_64-linux-gnu"
#else
#define LIB_TRIPLE "aarch64-linux-gnu"
#endif

struct lsi_blas {
    void *library;
    const struct lsi_blas_ops *ops;
};

static void *open_in(const char *directory, const char *under, char reason[256])
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s%s/%s", directory, under, PLUGIN_FILE);
    const char *said;
    void *library;

    if (length < 0 || (size_t)length >= sizeof path || access(path, R_OK) != 0)
        return NULL;
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        said = dlerror();
        (void)snprintf(reason, 256, "%s", said != NULL ? said : path);
    }
    return library;
}

/* reason: why a plug-in that is there could not be loaded; empty where there is none. */
static void *open_library(char reason[256])
{
    static const char *const places[] = {"/plugins", "/../plugins", "/../lib/lockstep", "/../lib64/lockstep",
                                         "/../lib/" LIB_TRIPLE "/lockstep"};
    const char *told = getenv("LOCKSTEP_PLUGINS");
    char directory[PATH_MAX];
    void *library = NULL;
    ssize_t length;
    size_t i;

    reason[0] = '\0';
    if (told != NULL && told[0] != '\0')
        return open_in(told, "", reason);
    length = readlink("/proc/self/exe", directory, sizeof directory - 1);
    if (length <= 0)
        return NULL;
    directory[length] = '\0';
    if (strrchr(directory, '/') != NULL)
        *strrchr(directory, '/') = '\0';
    for (i = 0; i < sizeof places / sizeof places[0] && library == NULL; i++)
        library = open_in(directory, places[i], reason);
    return library;
}

enum ls_status lsi_blas_open(int threads, struct lsi_blas **blas, struct ls_error *err)
{
    struct lsi_blas *opened = ls_alloc_zeroed(1, sizeof *opened);
    lsi_blas_plugin_fn plugin = NULL;
    char reason[256];

    if (opened == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is no memory for the OpenBLAS plug-in");
    opened->library = open_library(reason);
    if (opened->library != NULL)
        *(void **)&plugin = dlsym(opened->library, LSI_BLAS_SYMBOL);
    if (plugin != NULL)
        opened->ops = plugin();
    if (opened->ops == NULL) {
        lsi_blas_close(opened);
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "math: fast runs products on OpenBLAS, whose plug-in " PLUGIN_FILE " could not be loaded "
                            "(%s); install it, name its folder in LOCKSTEP_PLUGINS or use math: exact",
                            reason[0] != '\0' ? reason : "it is not installed");
    }
    if (opened->ops->abi != LSI_BLAS_ABI || opened->ops->size < sizeof *opened->ops) {
        lsi_blas_close(opened);
        return ls_error_set(err, LS_EUNSUPPORTED,
                            "the plug-in " PLUGIN_FILE
                            " belongs to another version of Lockstep; install both together");
    }
    opened->ops->set_threads(threads);
    *blas = opened;
    return LS_OK;
}

/* The library stays loaded: its threads may still run its code. */
void lsi_blas_close(struct lsi_blas *blas)
{
    ls_free(blas);
}

static void finish_rows(void *state, int64_t begin, int64_t end, int thread)
{
    const struct lsi_dense *d = state;
    int64_t row, column;

    (void)thread;
    for (row = begin; row < end; row++) {
        float *y = d->y + row * d->columns;

        for (column = 0; column < d->columns; column++) {
            float value = d->bias != NULL ? y[column] + d->bias[column] : y[column];

            y[column] = d->relu ? lsi_relu(value) : value;
        }
    }
}

static enum ls_status dense_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct lsi_dense d = lsi_dense_of(call);

    (void)err;
    device->blas->ops->sgemm(&(struct lsi_sgemm){.transpose_b = d.transposed_w,
                                                 .m = d.rows,
                                                 .n = d.columns,
                                                 .k = d.depth,
                                                 .a = d.x,
                                                 .a_stride = d.depth,
                                                 .b = d.w,
                                                 .b_stride = d.transposed_w ? d.depth : d.columns,
                                                 .c = d.y,
                                                 .c_stride = d.columns});
    if (d.bias != NULL || d.relu)
        lsi_device_parallel(device, d.rows, 16, finish_rows, &d);
    return LS_OK;
}

/* out (k, n) [+]= the pairs' products over samples [begin, end). */
static void add_pairs(const struct ls_device *device, const struct ls_op_call *call, const struct lsi_wgrad *w,
                      const int64_t range[2], float *out)
{
    int i;

    for (i = 0; i < w->pairs; i++) {
        struct lsi_wgrad_pair pair = lsi_wgrad_pair_of(call, w, i);
        int64_t begin = range[0] * pair.positions;

        device->blas->ops->sgemm(&(struct lsi_sgemm){.transpose_a = 1,
                                                     .m = w->k,
                                                     .n = w->n,
                                                     .k = range[1] * pair.positions - begin,
                                                     .a = pair.x + begin * w->k,
                                                     .a_stride = w->k,
                                                     .b = pair.dy + begin * w->n,
                                                     .b_stride = w->n,
                                                     .beta = 1.0f,
                                                     .c = out,
                                                     .c_stride = w->n});
    }
}

static enum ls_status wgrad_run(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    struct lsi_wgrad w;
    int64_t size, e;
    int shard;

    (void)err;
    lsi_wgrad_of(call, &w);
    size = w.k * w.n;
    memset(w.out, 0, (size_t)(size * (w.per_shard ? w.shards : 1)) * sizeof(float));
    if (w.acc != NULL) {
        for (shard = 0; shard < w.shards; shard++) {
            float *out = w.out + (w.per_shard ? shard * size : 0);

            if (!w.per_shard && w.offset[shard] == w.offset[shard + 1])
                continue;
            for (e = 0; e < size; e++)
                out[e] += w.acc[shard * size + e];
        }
    }
    if (!w.per_shard) {
        add_pairs(device, call, &w, (int64_t[]){0, w.samples}, w.out);
        return LS_OK;
    }
    for (shard = 0; shard < w.shards; shard++)
        add_pairs(device, call, &w, &w.offset[shard], w.out + shard * size);
    return LS_OK;
}

static bool dense_accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    struct lsi_dense d = lsi_dense_of(call);

    (void)device;
    return call->out[0].dtype == LS_F32 && d.rows > 0 && d.columns > 0 && d.depth > 0 && d.rows <= INT_MAX &&
           d.columns <= INT_MAX && d.depth <= INT_MAX;
}

static bool wgrad_accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    struct lsi_wgrad w;

    (void)device;
    lsi_wgrad_of(call, &w);
    return call->out[0].dtype == LS_F32 && w.samples > 0 && w.k > 0 && w.n > 0 && w.k <= INT_MAX && w.n <= INT_MAX;
}

static const struct lsi_kernel kernels[LS_OP_COUNT] = {
    [LS_OP_DENSE] = {.run = dense_run, .accepts = dense_accepts},
    [LS_OP_DENSE_WGRAD] = {.run = wgrad_run, .accepts = wgrad_accepts},
};

const struct lsi_kernel *lsi_blas_kernels(void)
{
    return kernels;
}
