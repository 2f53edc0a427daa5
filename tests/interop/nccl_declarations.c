/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds collective/provider/nccl/api.h against the vendor's headers, built where they are: that it compiles is most of
 * the test. `nccl_declarations load` also resolves every entry point in the real libraries and says what CUDA finds; it
 * needs no device.
 */
#include "collective/provider/nccl/api.h"

#include <cuda_runtime_api.h>
#include <nccl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define SAME_VALUE(own, theirs) _Static_assert((long long)(own) == (long long)(theirs), #own " is not " #theirs)
SAME_VALUE(NCCL_OK, ncclSuccess);
SAME_VALUE(NCCL_INVALID_USAGE, ncclInvalidUsage);
SAME_VALUE(NCCL_REMOTE_ERROR, ncclRemoteError);
SAME_VALUE(NCCL_IN_PROGRESS, ncclInProgress);
SAME_VALUE(NCCL_UINT8, ncclUint8);
SAME_VALUE(NCCL_INT32, ncclInt32);
SAME_VALUE(NCCL_INT64, ncclInt64);
SAME_VALUE(NCCL_FLOAT16, ncclFloat16);
SAME_VALUE(NCCL_FLOAT32, ncclFloat32);
SAME_VALUE(NCCL_FLOAT64, ncclFloat64);
#if NCCL_VERSION_CODE >= 22400 /* older ones name it in C++ only */
SAME_VALUE(NCCL_BFLOAT16, ncclBfloat16);
#endif
SAME_VALUE(NCCL_SUM, ncclSum);
SAME_VALUE(NCCL_PRODUCT, ncclProd);
SAME_VALUE(NCCL_MAX, ncclMax);
SAME_VALUE(NCCL_MIN, ncclMin);
SAME_VALUE(NCCL_ID_BYTES, NCCL_UNIQUE_ID_BYTES);
SAME_VALUE(NCCL_UNDEFINED, NCCL_CONFIG_UNDEF_INT);
SAME_VALUE(CUDA_OK, cudaSuccess);
SAME_VALUE(CUDA_NOT_READY, cudaErrorNotReady);
SAME_VALUE(CUDA_HOST_TO_DEVICE, cudaMemcpyHostToDevice);
SAME_VALUE(CUDA_DEVICE_TO_HOST, cudaMemcpyDeviceToHost);
SAME_VALUE(CUDA_STREAM_NON_BLOCKING, cudaStreamNonBlocking);
SAME_VALUE(CUDA_EVENT_DISABLE_TIMING, cudaEventDisableTiming);
SAME_VALUE(CUDA_HOST_ALLOC_DEFAULT, cudaHostAllocDefault);

/* Enumerations and pointers pass as our int and pointers do. */
_Static_assert(sizeof(ncclResult_t) == sizeof(int) && sizeof(ncclDataType_t) == sizeof(int) &&
                   sizeof(ncclRedOp_t) == sizeof(int) && sizeof(cudaError_t) == sizeof(int) &&
                   sizeof(enum cudaMemcpyKind) == sizeof(int),
               "an enumeration is no int");
_Static_assert(sizeof(ncclUniqueId) == sizeof(struct nccl_id) && _Alignof(ncclUniqueId) == _Alignof(struct nccl_id),
               "the id has another size");

/* Our configuration is the beginning of theirs. */
#define SAME_PLACE(own, theirs)                                                                       \
    _Static_assert(offsetof(struct nccl_config, own) == offsetof(ncclConfig_t, theirs) &&             \
                       sizeof(((struct nccl_config *)0)->own) == sizeof(((ncclConfig_t *)0)->theirs), \
                   #own " is not where " #theirs " is")
SAME_PLACE(size, size);
SAME_PLACE(magic, magic);
SAME_PLACE(version, version);
SAME_PLACE(blocking, blocking);
SAME_PLACE(cga_cluster_size, cgaClusterSize);
SAME_PLACE(min_ctas, minCTAs);
SAME_PLACE(max_ctas, maxCTAs);
SAME_PLACE(net_name, netName);
SAME_PLACE(split_share, splitShare);
_Static_assert(sizeof(struct nccl_config) <= sizeof(ncclConfig_t), "our configuration is longer than theirs");

/* Every entry point has exactly the type that our list gives it with their types in it. */
#define SAME_TYPE(field, symbol, result, parameters)                                                    \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&symbol), __typeof__(result(*) parameters)), \
                   #symbol " has another type");
NCCL_CALLS(SAME_TYPE, ncclResult_t, ncclComm_t, ncclUniqueId, ncclConfig_t, ncclDataType_t, ncclRedOp_t, cudaStream_t)
CUDA_CALLS(SAME_TYPE, cudaError_t, enum cudaMemcpyKind, cudaStream_t, cudaEvent_t)

/* The values of their initialiser, as far as ours goes. */
static int check_initialiser(void)
{
    ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
    struct nccl_config own = NCCL_CONFIG_DEFAULT, begin;

    memcpy(&begin, &theirs, sizeof begin);
    return own.magic != begin.magic || own.blocking != begin.blocking ||
           own.cga_cluster_size != begin.cga_cluster_size || own.min_ctas != begin.min_ctas ||
           own.max_ctas != begin.max_ctas || own.net_name != begin.net_name || own.split_share != begin.split_share ||
           own.size != sizeof own || own.version > begin.version;
}

static int load(void)
{
    const struct nccl_library *library;
    struct ls_error err = LS_ERROR_INIT;
    int devices = 0, code;

    if (lsi_nccl_library_get(&library, &err) != LS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    code = library->cuda.device_count(&devices);
    printf("NCCL %d, %d devices (%s)\n", library->version, devices, library->cuda.error_text(code));
    return library->version < NCCL_OLDEST_VERSION;
}

int main(int argc, char **argv)
{
    if (check_initialiser() != 0) {
        fprintf(stderr, "the initialiser of ncclConfig_t has other values\n");
        return 1;
    }
    printf("declarations agree with nccl.h %d.%d.%d\n", NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH);
    return argc > 1 && strcmp(argv[1], "load") == 0 ? load() : 0;
}
