/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own declarations of what the nccl provider calls in NCCL (2.18 and later) and in the CUDA run-time library (12
 * and later). Both are looked for at run time, so that the project builds without either. Values and signatures are
 * facts of nccl.h and cuda_runtime_api.h; tests/interop/nccl_declarations.c holds them against those headers where they
 * are.
 */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_NCCL_API_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_NCCL_API_H

#include "core/base/status.h"

#include <limits.h>
#include <stddef.h>

struct nccl_comm;
struct cuda_stream;
struct cuda_event;

/* ncclResult_t, as far as it is looked at */
enum nccl_result { NCCL_OK = 0, NCCL_INVALID_USAGE = 5, NCCL_REMOTE_ERROR = 6, NCCL_IN_PROGRESS = 7 };
/* ncclDataType_t */
enum nccl_dtype {
    NCCL_UINT8 = 1,
    NCCL_INT32 = 2,
    NCCL_INT64 = 4,
    NCCL_FLOAT16 = 6,
    NCCL_FLOAT32 = 7,
    NCCL_FLOAT64 = 8,
    NCCL_BFLOAT16 = 9
};
/* ncclRedOp_t */
enum nccl_op { NCCL_SUM = 0, NCCL_PRODUCT = 1, NCCL_MAX = 2, NCCL_MIN = 3 };

#define NCCL_ID_BYTES 128
struct nccl_id {
    char bytes[NCCL_ID_BYTES];
};

/* ncclConfig_t as it was in 2.18: every later one begins with it. A library reads as many bytes as both know and gives
 * what is newer than `version` its default. */
struct nccl_config {
    size_t size;
    unsigned magic;
    unsigned version;
    int blocking;
    int cga_cluster_size;
    int min_ctas;
    int max_ctas;
    const char *net_name;
    int split_share;
};
#define NCCL_CONFIG_MAGIC 0xcafebeefu
#define NCCL_OLDEST_VERSION 21800 /* major * 10000 + minor * 100 + patch */
#define NCCL_UNDEFINED INT_MIN
#define NCCL_CONFIG_DEFAULT                                                                                 \
    {                                                                                                       \
        sizeof(struct nccl_config), NCCL_CONFIG_MAGIC, NCCL_OLDEST_VERSION, NCCL_UNDEFINED, NCCL_UNDEFINED, \
            NCCL_UNDEFINED, NCCL_UNDEFINED, NULL, NCCL_UNDEFINED                                            \
    }

/* X(field, symbol, result, parameters). The types are parameters of the list, so that the check can put in those of
 * nccl.h. */
#define NCCL_CALLS(X, RESULT, COMM, ID, CONFIG, DTYPE, OP, STREAM)                                               \
    X(get_version, ncclGetVersion, RESULT, (int *version))                                                       \
    X(get_unique_id, ncclGetUniqueId, RESULT, (ID * id))                                                         \
    X(comm_init, ncclCommInitRankConfig, RESULT, (COMM * comm, int world, ID id, int rank, CONFIG *config))      \
    X(comm_finalize, ncclCommFinalize, RESULT, (COMM comm))                                                      \
    X(comm_destroy, ncclCommDestroy, RESULT, (COMM comm))                                                        \
    X(comm_abort, ncclCommAbort, RESULT, (COMM comm))                                                            \
    X(comm_async_error, ncclCommGetAsyncError, RESULT, (COMM comm, RESULT * state))                              \
    X(error_text, ncclGetErrorString, const char *, (RESULT result))                                             \
    X(last_error, ncclGetLastError, const char *, (COMM comm))                                                   \
    X(group_start, ncclGroupStart, RESULT, (void))                                                               \
    X(group_end, ncclGroupEnd, RESULT, (void))                                                                   \
    X(send, ncclSend, RESULT, (const void *data, size_t count, DTYPE dtype, int peer, COMM comm, STREAM stream)) \
    X(receive, ncclRecv, RESULT, (void *data, size_t count, DTYPE dtype, int peer, COMM comm, STREAM stream))    \
    X(broadcast, ncclBroadcast, RESULT,                                                                          \
      (const void *src, void *dst, size_t count, DTYPE dtype, int root, COMM comm, STREAM stream))               \
    X(all_gather, ncclAllGather, RESULT,                                                                         \
      (const void *src, void *dst, size_t count, DTYPE dtype, COMM comm, STREAM stream))                         \
    X(all_reduce, ncclAllReduce, RESULT,                                                                         \
      (const void *src, void *dst, size_t count, DTYPE dtype, OP op, COMM comm, STREAM stream))

/* cudaError_t, cudaMemcpyKind and the flags that are used */
enum cuda_result { CUDA_OK = 0, CUDA_NOT_READY = 600 };
enum cuda_copy { CUDA_HOST_TO_DEVICE = 1, CUDA_DEVICE_TO_HOST = 2 };
#define CUDA_STREAM_NON_BLOCKING 1u
#define CUDA_EVENT_DISABLE_TIMING 2u
#define CUDA_HOST_ALLOC_DEFAULT 0u

#define CUDA_CALLS(X, RESULT, COPY, STREAM, EVENT)                                                         \
    X(runtime_version, cudaRuntimeGetVersion, RESULT, (int *version))                                      \
    X(device_count, cudaGetDeviceCount, RESULT, (int *count))                                              \
    X(get_device, cudaGetDevice, RESULT, (int *device))                                                    \
    X(set_device, cudaSetDevice, RESULT, (int device))                                                     \
    X(device_alloc, cudaMalloc, RESULT, (void **memory, size_t bytes))                                     \
    X(device_free, cudaFree, RESULT, (void *memory))                                                       \
    X(host_alloc, cudaHostAlloc, RESULT, (void **memory, size_t bytes, unsigned flags))                    \
    X(host_free, cudaFreeHost, RESULT, (void *memory))                                                     \
    X(copy, cudaMemcpyAsync, RESULT, (void *dst, const void *src, size_t bytes, COPY kind, STREAM stream)) \
    X(stream_create, cudaStreamCreateWithFlags, RESULT, (STREAM * stream, unsigned flags))                 \
    X(stream_destroy, cudaStreamDestroy, RESULT, (STREAM stream))                                          \
    X(event_create, cudaEventCreateWithFlags, RESULT, (EVENT * event, unsigned flags))                     \
    X(event_destroy, cudaEventDestroy, RESULT, (EVENT event))                                              \
    X(event_record, cudaEventRecord, RESULT, (EVENT event, STREAM stream))                                 \
    X(event_query, cudaEventQuery, RESULT, (EVENT event))                                                  \
    X(error_text, cudaGetErrorString, const char *, (RESULT result))

#define NCCL_FIELD(field, symbol, result, parameters) result(*field) parameters;
struct nccl_api {
    NCCL_CALLS(NCCL_FIELD, int, struct nccl_comm *, struct nccl_id, struct nccl_config, int, int, struct cuda_stream *)
};
struct cuda_api {
    CUDA_CALLS(NCCL_FIELD, int, int, struct cuda_stream *, struct cuda_event *)
};
#undef NCCL_FIELD

struct nccl_library {
    struct nccl_api nccl;
    struct cuda_api cuda;
    int version;
};

/* Loads both libraries once a process: LOCKSTEP_NCCL_LIBRARY and LOCKSTEP_CUDART_LIBRARY name them, otherwise they are
 * libnccl.so.2 and libcudart.so.13, .12 or without a number. LS_EUNSUPPORTED says what is missing. */
enum ls_status lsi_nccl_library_get(const struct nccl_library **library, struct ls_error *err);

#endif
