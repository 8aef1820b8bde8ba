package server

import "github.com/epinet/epi/apps/world/store"

// Goods is what has the items, also when nothing lasts.
func (s *Server) Goods() store.Store { return s.goods.store }
