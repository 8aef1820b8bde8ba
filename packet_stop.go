package epi

// Close closes the listener's sockets, after what is queued for UDP has left; what
// the system has no room for then is lost. When it returns, another can listen at the
// address, and a Unix socket's file is removed, unless it is another's by now: what
// is queued for Unix peers still leaves, as for PacketConn.Close. But an abstract name
// (unix(7)), and a socket that others may hold too, of ListenPacketOn, are free when
// they have let go of it. The handlers hear of it by OnClose. It may be called from
// any goroutine, also inside callbacks, and more than once.
func (ln *PacketListener) Close() error {
	for _, c := range ln.conns {
		_ = c.end(nil) // ErrClosed is no news here
		c.stop()
	}
	return nil
}

// stop gives up the address of a socket that is closing.
func (c *PacketConn) stop() {
	c.sender <- struct{}{}
	defer func() { <-c.sender }()
	if c.stopped {
		return
	}
	if c.network == "unixgram" {
		c.removeSocketFile()
		return
	}
	c.stopped = true
	if c.opened {
		c.sendLast()
	}
	c.dropQueues()
	c.loop.drv.StopPacket(c.sock.Handle)
}

// sendLast sends what leaves at once of all that is queued.
func (c *PacketConn) sendLast() {
	for c.nextQueue() {
		batch := c.sending.rest()
		count, size := c.loop.drv.SendLast(&c.sock, batch)
		c.loop.count.packetsOut.Add(uint64(count))
		c.loop.count.packetsDropped.Add(uint64(len(batch) - count))
		c.loop.count.bytesOut.Add(uint64(size))
		c.sending.first += len(batch)
	}
}

// closeSocket has the driver close the socket. Nobody stops it any more.
func (c *PacketConn) closeSocket() {
	c.sender <- struct{}{}
	defer func() { <-c.sender }()
	c.dropQueues() // nothing is queued, but a queue may be left
	// Before the socket is closed: whoever binds the path next gets a new file.
	c.removeSocketFile()
	if !c.stopped && c.network != "unixgram" && c.makeHandler != nil {
		c.loop.drv.StopPacket(c.sock.Handle) // the driver may close it later
	}
	c.stopped = true
	c.loop.drv.ClosePacket(&c.sock)
}
