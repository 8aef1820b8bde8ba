// Package uring is io_uring(7) for Go: a submission queue and a completion
// queue shared with the kernel, buffers that the kernel chooses from, and the
// operations of sockets. It is a thin layer without policy and starts no
// goroutine; it is useful on its own.
//
// An entry of the submission queue ([SQE]) describes one operation. [Ring.SQE]
// gives the next free entry, a method of the entry says what is to be done,
// [Ring.Submit] or [Ring.Wait] hands all prepared entries to the kernel in one
// system call, and each operation posts a completion ([CQE]) that carries its
// UserData. Multishot operations post many, all but the last one marked by
// [CQE.More].
//
//	SQE ──► submission queue ──┐ io_uring_enter: Submit, Wait
//	                           ▼
//	                        kernel
//	                           │
//	CQE ◄── completion queue ◄─┘
//
// # Rules
//
//   - A Ring belongs to one goroutine, except for Close, which nothing else may
//     run beside. With [SingleIssuer] it belongs to one thread, that which called
//     New, or Enable if it was made [Disabled]: lock the goroutine to it before
//     (runtime.LockOSThread).
//   - Memory whose address is in an entry (the bytes to send, the room to
//     receive into) must stay reachable and in place until the operation's last
//     completion: the kernel uses it, and the garbage collector does not see
//     that. Variables whose address was given to a method of SQE are on the
//     heap, where Go does not move them. What describes such memory (message
//     headers, vectors, socket addresses) must stay only until it was submitted.
//   - A descriptor that is closed stays open for the operations on it that are
//     under way: cancel them.
//   - A thread that ends takes the operations with it that were submitted on it.
//     Go ends a thread when a goroutine ends that is locked to it.
//
// # What is not promised
//
// Completions come in any order. A cancelled operation may have completed
// before; its completion comes in any case. A multishot operation may end at
// any time, without an error, and must then be submitted again.
package uring
