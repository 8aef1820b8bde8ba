package sim

// The sizes of space, in units (docs/world-protocol.md).
const (
	Unit     = 1
	Tile     = 64 * Unit
	CellSide = 16 // tiles
	Cell     = CellSide * Tile
	// MaxSide is how many cells a world can have in each direction.
	MaxSide = 64
	// Reach is how far the square of an entity reaches from its place.
	Reach = 24 * Unit
)

// A Ground is what a tile is.
type Ground uint8

// The grounds. Rock, Water and Tree cannot be walked on.
const (
	Grass Ground = iota
	Road
	Floor
	Rock
	Water
	Tree
)

// Walkable reports whether an entity can be on it.
func (g Ground) Walkable() bool { return g <= Floor }

// A Map is the ground of a world, made from a seed.
type Map struct {
	seed          uint32
	width, height int // tiles
	tiles         []Ground
}

// NewMap makes the map of a world of so many cells.
func NewMap(seed uint32, width, height int) *Map {
	m := &Map{seed: seed, width: width * CellSide, height: height * CellSide}
	m.tiles = make([]Ground, m.width*m.height)
	for y := range m.height {
		for x := range m.width {
			m.tiles[y*m.width+x] = m.ground(uint32(x), uint32(y))
		}
	}
	return m
}

// At returns the ground of a tile; outside the world all is rock.
func (m *Map) At(x, y int) Ground {
	if x < 0 || y < 0 || x >= m.width || y >= m.height {
		return Rock
	}
	return m.tiles[y*m.width+x]
}

func mix(a uint32) uint32 {
	a = (a ^ a>>16) * 0x7feb352d
	a = (a ^ a>>15) * 0x846ca68b
	return a ^ a>>16
}

func (m *Map) hash(x, y uint32) uint32 {
	return mix(mix(mix(m.seed+0x9e3779b9)^x*0x85ebca6b) ^ y*0xc2b2ae35)
}

func (m *Map) noise(x, y uint32, s uint) uint32 {
	side := uint32(1) << s
	u, v := x%side, y%side
	corner := func(i, j uint32) uint32 { return m.hash(x>>s+i, y>>s+j) >> 24 }
	above := corner(0, 0)*(side-u) + corner(1, 0)*u
	below := corner(0, 1)*(side-u) + corner(1, 1)*u
	return (above*(side-v) + below*v) >> (2 * s)
}

func (m *Map) relief(x, y uint32) uint32 {
	return (m.noise(x, y, 5)*4 + m.noise(x+1000, y, 4)*2 + m.noise(x, y+1000, 3)) / 7
}

// Towns are squares around the crossings of the roads.
const (
	townEvery  = 128
	townFrom   = 52
	townTo     = 75
	roadFrom   = 63
	roadTo     = 64
	waterBelow = 96
	treeAbove  = 138
	treeEvery  = 4
)

func between(v, least, most uint32) bool { return least <= v && v <= most }

func (m *Map) ground(x, y uint32) Ground {
	if x == 0 || y == 0 || x == uint32(m.width-1) || y == uint32(m.height-1) {
		return Rock
	}
	u, v := x%townEvery, y%townEvery
	road := between(u, roadFrom, roadTo) || between(v, roadFrom, roadTo)
	inTown := between(u, townFrom, townTo) && between(v, townFrom, townTo)
	wall := inTown && (u == townFrom || u == townTo || v == townFrom || v == townTo)
	switch {
	case wall && !road:
		return Rock
	case inTown:
		return Floor
	case road:
		return Road
	}
	switch relief := m.relief(x, y); {
	case relief < waterBelow:
		return Water
	case relief > treeAbove && m.hash(x+1, y)%treeEvery == 0:
		return Tree
	}
	return Grass
}

// free reports whether an entity can be at a place.
func (m *Map) free(x, y int32) bool {
	left, right := int(x-Reach)/Tile, int(x+Reach)/Tile
	above, below := int(y-Reach)/Tile, int(y+Reach)/Tile
	return x >= Reach && y >= Reach &&
		m.At(left, above).Walkable() && m.At(right, above).Walkable() &&
		m.At(left, below).Walkable() && m.At(right, below).Walkable()
}

// A heading is the sign of each axis of a direction.
type heading struct{ x, y int32 }

// headings are by direction: none, north, and on clockwise.
var headings = [9]heading{{0, 0}, {0, -1}, {1, -1}, {1, 0}, {1, 1}, {0, 1}, {-1, 1}, {-1, 0}, {-1, -1}}

// directionOf is the way back.
func directionOf(dx, dy int32) uint8 {
	h := heading{sign(dx), sign(dy)}
	for d := range headings {
		if headings[d] == h {
			return uint8(d)
		}
	}
	return 0
}

func sign(v int32) int32 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// A Step is how far an entity goes in one tick.
type Step struct{ Straight, Diagonal int32 }

// Walk goes one tick from a place. Along an axis on which something is in the way
// it does not go.
func (m *Map) Walk(x, y int32, direction uint8, step Step) (int32, int32) {
	h, d := headings[direction], step.Straight
	if h.x != 0 && h.y != 0 {
		d = step.Diagonal
	}
	if h.x != 0 && m.free(x+h.x*d, y) {
		x += h.x * d
	}
	if h.y != 0 && m.free(x, y+h.y*d) {
		y += h.y * d
	}
	return x, y
}

// nearest returns the free place that is nearest to one, looked for in rings of
// tiles, and whether there is any.
func (m *Map) nearest(x, y int32) (int32, int32, bool) {
	if m.free(x, y) {
		return x, y, true
	}
	tx, ty := int(x)/Tile, int(y)/Tile
	for ring := range max(m.width, m.height) {
		for dy := -ring; dy <= ring; dy++ {
			for dx := -ring; dx <= ring; dx++ {
				if max(dx, -dx, dy, -dy) != ring {
					continue
				}
				px, py := int32((tx+dx)*Tile+Tile/2), int32((ty+dy)*Tile+Tile/2)
				if m.free(px, py) {
					return px, py, true
				}
			}
		}
	}
	return x, y, false
}
