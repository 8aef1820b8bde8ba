package uring

import (
	"testing"
	"unsafe"
)

// TestStructsLieAsTheKernelHasThem compares with include/uapi/linux/io_uring.h.
func TestStructsLieAsTheKernelHasThem(t *testing.T) {
	var (
		sqe    SQE
		cqe    CQE
		p      params
		events getEventsArg
		now    kernelTime
		cancel syncCancelArg
		ring   bufferRingArg
		buffer bufferEntry
		files  filesArg
		update updateArg
		op     probeOp
		probe  probeArg
	)
	for _, row := range []struct {
		name      string
		got, want uintptr
	}{
		{"io_uring_sqe", unsafe.Sizeof(sqe), 64},
		{"io_uring_sqe.opcode", unsafe.Offsetof(sqe.Op), 0},
		{"io_uring_sqe.flags", unsafe.Offsetof(sqe.Flags), 1},
		{"io_uring_sqe.ioprio", unsafe.Offsetof(sqe.IOPrio), 2},
		{"io_uring_sqe.fd", unsafe.Offsetof(sqe.FD), 4},
		{"io_uring_sqe.off", unsafe.Offsetof(sqe.Off), 8},
		{"io_uring_sqe.addr", unsafe.Offsetof(sqe.Addr), 16},
		{"io_uring_sqe.len", unsafe.Offsetof(sqe.Len), 24},
		{"io_uring_sqe.rw_flags", unsafe.Offsetof(sqe.OpFlags), 28},
		{"io_uring_sqe.user_data", unsafe.Offsetof(sqe.UserData), 32},
		{"io_uring_sqe.buf_group", unsafe.Offsetof(sqe.BufGroup), 40},
		{"io_uring_sqe.file_index", unsafe.Offsetof(sqe.File), 44},
		{"io_uring_sqe.addr3", unsafe.Offsetof(sqe.Addr3), 48},

		{"io_uring_cqe", unsafe.Sizeof(cqe), 16},
		{"io_uring_cqe.res", unsafe.Offsetof(cqe.Res), 8},
		{"io_uring_cqe.flags", unsafe.Offsetof(cqe.Flags), 12},

		{"io_uring_params", unsafe.Sizeof(p), 120},
		{"io_uring_params.flags", unsafe.Offsetof(p.flags), 8},
		{"io_uring_params.features", unsafe.Offsetof(p.features), 20},
		{"io_uring_params.sq_off", unsafe.Offsetof(p.sq), 40},
		{"io_sqring_offsets", unsafe.Sizeof(p.sq), 40},
		{"io_sqring_offsets.flags", unsafe.Offsetof(p.sq.flags), 16},
		{"io_sqring_offsets.array", unsafe.Offsetof(p.sq.array), 24},
		{"io_uring_params.cq_off", unsafe.Offsetof(p.cq), 80},
		{"io_cqring_offsets", unsafe.Sizeof(p.cq), 40},
		{"io_cqring_offsets.overflow", unsafe.Offsetof(p.cq.overflow), 16},
		{"io_cqring_offsets.cqes", unsafe.Offsetof(p.cq.cqes), 20},

		{"io_uring_getevents_arg", unsafe.Sizeof(events), 24},
		{"io_uring_getevents_arg.min_wait_usec", unsafe.Offsetof(events.minWait), 12},
		{"io_uring_getevents_arg.ts", unsafe.Offsetof(events.timeout), 16},
		{"__kernel_timespec", unsafe.Sizeof(now), 16},

		{"io_uring_sync_cancel_reg", unsafe.Sizeof(cancel), 64},
		{"io_uring_sync_cancel_reg.flags", unsafe.Offsetof(cancel.flags), 12},
		{"io_uring_sync_cancel_reg.timeout", unsafe.Offsetof(cancel.timeout), 16},
		{"io_uring_sync_cancel_reg.opcode", unsafe.Offsetof(cancel.op), 32},

		{"io_uring_buf_reg", unsafe.Sizeof(ring), 40},
		{"io_uring_buf_reg.bgid", unsafe.Offsetof(ring.group), 12},
		{"io_uring_buf_reg.flags", unsafe.Offsetof(ring.flags), 14},
		{"io_uring_buf", unsafe.Sizeof(buffer), 16},
		{"io_uring_buf.len", unsafe.Offsetof(buffer.len), 8},
		{"io_uring_buf.bid", unsafe.Offsetof(buffer.id), 12},
		{"io_uring_buf_ring.tail", unsafe.Offsetof(buffer.tail), 14},

		{"io_uring_rsrc_register", unsafe.Sizeof(files), 32},
		{"io_uring_rsrc_register.data", unsafe.Offsetof(files.data), 16},
		{"io_uring_rsrc_update", unsafe.Sizeof(update), 16},
		{"io_uring_rsrc_update.data", unsafe.Offsetof(update.data), 8},

		{"io_uring_probe_op", unsafe.Sizeof(op), 8},
		{"io_uring_probe_op.flags", unsafe.Offsetof(op.flags), 2},
		{"io_uring_probe.ops", unsafe.Offsetof(probe.ops), 16},
	} {
		if row.got != row.want {
			t.Errorf("%s is at, or of, %d bytes; the kernel has %d", row.name, row.got, row.want)
		}
	}
}
