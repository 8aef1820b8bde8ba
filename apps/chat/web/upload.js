// Sending files.
import { say } from './words.js';

// send uploads a file to where the server says, and returns its address, '' when that
// did not work.
export async function send(app, file) {
  const request = new XMLHttpRequest();
  request.open('POST', new URL(app.fileHost(), location.href));
  request.setRequestHeader('Content-Type', file.type || 'application/octet-stream');
  request.setRequestHeader('Content-Disposition', `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`);
  request.setRequestHeader('Authorization', app.authorization());
  request.upload.onprogress = (e) => app.toast(say('uploading', { name: file.name, n: Math.round(100 * e.loaded / e.total) }));
  const place = await new Promise((resolve) => {
    request.onload = () => resolve(request.status === 201 ? request.getResponseHeader('Location') : '');
    request.onerror = () => resolve('');
    request.send(file);
  });
  if (!place) {
    app.toast(say(request.status === 413 ? 'tooBig' : 'uploadFailed'));
    return '';
  }
  document.querySelector('.toast')?.remove();
  return new URL(place, request.responseURL).href;
}

// upload sends files, and then says where they are.
export async function upload(app, files) {
  const b = app.current;
  for (const file of files) {
    const place = await send(app, file);
    if (place) app.client.say(b.name, place);
  }
}
