// Two ways to draw sprites: WebGL2, all of them in one call, and Canvas 2D where
// there is none. Both have begin, sprite(x, y, size, index) and end.
import { count, draw, side } from './atlas.js';

const vertexSource = `#version 300 es
in vec2 corner; in vec4 sprite; uniform vec2 size; uniform float count; out vec2 at;
void main() {
  vec2 p = (sprite.xy + corner * sprite.z) / size * 2.0 - 1.0;
  gl_Position = vec4(p.x, -p.y, 0, 1);
  at = vec2((sprite.w + 0.002 + corner.x * 0.996) / count, corner.y);
}`;
const fragmentSource = `#version 300 es
precision mediump float; in vec2 at; uniform sampler2D atlas; uniform float light; out vec4 color;
void main() { vec4 c = texture(atlas, at); color = vec4(c.rgb * mix(vec3(0.32, 0.36, 0.62), vec3(1.0), light), c.a); }`;

const perSprite = 4;

class GLRenderer {
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.sprites = new Float32Array(perSprite * 4096);
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    this.uniform = Object.fromEntries(['size', 'count', 'light'].map((name) => [name, gl.getUniformLocation(program, name)]));
    const corner = gl.getAttribLocation(program, 'corner'), sprite = gl.getAttribLocation(program, 'sprite');
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.enableVertexAttribArray(sprite);
    gl.vertexAttribPointer(sprite, perSprite, gl.FLOAT, false, 0, 0);
    gl.vertexAttribDivisor(sprite, 1);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, draw());
    for (const p of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, p, gl.NEAREST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  }
  begin(light) {
    this.n = 0;
    this.light = light;
  }
  sprite(x, y, size, index) {
    if (this.n * perSprite === this.sprites.length) {
      const more = new Float32Array(2 * this.sprites.length);
      more.set(this.sprites);
      this.sprites = more;
    }
    const at = perSprite * this.n++;
    this.sprites[at] = x;
    this.sprites[at + 1] = y;
    this.sprites[at + 2] = size;
    this.sprites[at + 3] = index;
  }
  end() {
    const { gl, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.uniform2f(this.uniform.size, canvas.width, canvas.height);
    gl.uniform1f(this.uniform.count, count);
    gl.uniform1f(this.uniform.light, this.light);
    gl.bufferData(gl.ARRAY_BUFFER, this.sprites.subarray(0, this.n * perSprite), gl.STREAM_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.n);
  }
}

class CanvasRenderer {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d', { alpha: false });
    this.atlas = draw();
  }
  begin(light) {
    this.n = 0;
    this.light = light;
    this.context.imageSmoothingEnabled = false;
  }
  sprite(x, y, size, index) {
    this.n++;
    this.context.drawImage(this.atlas, index * side, 0, side, side, Math.floor(x), Math.floor(y), Math.ceil(size), Math.ceil(size));
  }
  end() {
    if (this.light >= 1) return;
    this.context.fillStyle = `rgba(8, 12, 48, ${0.6 * (1 - this.light)})`;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }
}

export function renderer(canvas) {
  const gl = new URLSearchParams(location.search).has('canvas') ? null : canvas.getContext('webgl2', { alpha: false, antialias: false });
  return gl === null ? new CanvasRenderer(canvas) : new GLRenderer(canvas, gl);
}
