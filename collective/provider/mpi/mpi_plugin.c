/* SPDX-License-Identifier: Apache-2.0 */
/* The MPI plug-in: the only file that includes mpi.h. See plugin.h. */
#include "collective/provider/mpi/plugin.h"

#include <mpi.h>
#include <string.h>

_Static_assert(sizeof(MPI_Request) <= sizeof(struct ls_mpi_handle), "a request does not fit its handle");

static MPI_Comm lanes[LS_MPI_LANES];
static int running;

static void pack(MPI_Request request, struct ls_mpi_handle *handle)
{
    memset(handle, 0, sizeof *handle);
    memcpy(handle, &request, sizeof request);
}

static MPI_Request unpack(const struct ls_mpi_handle *handle)
{
    MPI_Request request;

    memcpy(&request, handle, sizeof request);
    return request;
}

static int plugin_init(int *rank, int *world, int *any_thread)
{
    int provided = MPI_THREAD_SINGLE;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);

    if (code != MPI_SUCCESS)
        return code;
    running = 1;
    (void)MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    for (int i = 0; i < LS_MPI_LANES && code == MPI_SUCCESS; i++) {
        code = MPI_Comm_dup(MPI_COMM_WORLD, &lanes[i]);
        if (code == MPI_SUCCESS)
            code = MPI_Comm_set_errhandler(lanes[i], MPI_ERRORS_RETURN);
    }
    if (code == MPI_SUCCESS)
        code = MPI_Comm_rank(MPI_COMM_WORLD, rank);
    if (code == MPI_SUCCESS)
        code = MPI_Comm_size(MPI_COMM_WORLD, world);
    *any_thread = provided == MPI_THREAD_MULTIPLE;
    return code;
}

static int plugin_finalize(void)
{
    if (!running)
        return MPI_SUCCESS;
    running = 0;
    for (int i = 0; i < LS_MPI_LANES; i++)
        (void)MPI_Comm_free(&lanes[i]);
    return MPI_Finalize();
}

static void plugin_abort(int exit_status)
{
    if (running)
        (void)MPI_Abort(MPI_COMM_WORLD, exit_status);
}

static int plugin_broadcast(void *data, size_t bytes, int root)
{
    return MPI_Bcast(data, (int)bytes, MPI_BYTE, root, MPI_COMM_WORLD);
}

static int plugin_all_reduce_f32(const float *src, float *dst, int64_t count)
{
    return MPI_Allreduce(src, dst, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static int plugin_send(enum ls_mpi_lane lane, const void *data, size_t bytes, int peer, int tag,
                       struct ls_mpi_handle *handle)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int code = MPI_Isend(data, (int)bytes, MPI_BYTE, peer, tag, lanes[lane], &request);

    pack(request, handle);
    return code;
}

static int plugin_receive(enum ls_mpi_lane lane, void *data, size_t bytes, int peer, int tag,
                          struct ls_mpi_handle *handle)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int code = MPI_Irecv(data, (int)bytes, MPI_BYTE, peer < 0 ? MPI_ANY_SOURCE : peer, tag, lanes[lane], &request);

    pack(request, handle);
    return code;
}

static int plugin_test(struct ls_mpi_handle *handle, int *done)
{
    MPI_Request request = unpack(handle);
    int code = MPI_Test(&request, done, MPI_STATUS_IGNORE);

    pack(request, handle);
    return code;
}

static void plugin_cancel_receive(struct ls_mpi_handle *handle)
{
    MPI_Request request = unpack(handle);

    if (request == MPI_REQUEST_NULL)
        return;
    (void)MPI_Cancel(&request);
    (void)MPI_Wait(&request, MPI_STATUS_IGNORE);
    pack(MPI_REQUEST_NULL, handle);
}

static void plugin_forget_send(struct ls_mpi_handle *handle)
{
    MPI_Request request = unpack(handle);

    if (request != MPI_REQUEST_NULL)
        (void)MPI_Request_free(&request);
    pack(MPI_REQUEST_NULL, handle);
}

static void plugin_text(int code, char *text, size_t size)
{
    char whole[MPI_MAX_ERROR_STRING] = "";
    int length = 0;

    if (size == 0)
        return;
    (void)MPI_Error_string(code, whole, &length);
    strncpy(text, whole, size - 1);
    text[size - 1] = '\0';
}

static const struct ls_mpi_plugin plugin = {
    .size = sizeof(struct ls_mpi_plugin),
    .abi = LS_MPI_PLUGIN_ABI,
    .library = "MPI",
    .init = plugin_init,
    .finalize = plugin_finalize,
    .abort = plugin_abort,
    .broadcast = plugin_broadcast,
    .all_reduce_f32 = plugin_all_reduce_f32,
    .send = plugin_send,
    .receive = plugin_receive,
    .test = plugin_test,
    .cancel_receive = plugin_cancel_receive,
    .forget_send = plugin_forget_send,
    .text = plugin_text,
};

__attribute__((visibility("default"))) const struct ls_mpi_plugin *lockstep_mpi_plugin(void);

const struct ls_mpi_plugin *lockstep_mpi_plugin(void)
{
    return &plugin;
}
