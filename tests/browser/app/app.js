// A single-page app: the access token is in memory only; the refresh token in a cookie, or in memory, too.
const base = new URLSearchParams(location.search).get('service');
const byId = (id) => document.getElementById(id);

let accessToken = null;
let refreshToken = null; // of memory mode

async function post(path, form) {
  const answer = await fetch(base + path, { method: 'POST', credentials: 'include', body: new URLSearchParams(form) });
  return { status: answer.status, body: await answer.json() };
}

function granted({ status, body }) {
  if (status !== 200) return { status, body };
  accessToken = body.access_token;
  refreshToken = body.refresh_token ?? null;
  return { status, body };
}

export async function logIn(username, password, inCookie) {
  return granted(await post('/token', { grant_type: 'password', username, password, refresh_in_cookie: inCookie }));
}

export async function refresh() {
  const form = { grant_type: 'refresh_token' };
  if (refreshToken) form.refresh_token = refreshToken;
  return granted(await post('/token', form));
}

// Make a request with the access token; renew it once if it has expired.
export async function request(method, path, body, headers = {}) {
  const send = () => fetch(base + path, {
    method,
    headers: { ...(accessToken && { Authorization: `Bearer ${accessToken}` }), ...(body && { 'Content-Type': 'application/json' }), ...headers },
    body,
  });
  let answer = await send();
  const code = answer.status === 401 ? (await answer.clone().json()).code : null;
  if (code === 'token_expired' && (await refresh()).status === 200) answer = await send();
  const text = await answer.text();
  return { status: answer.status, body: text && JSON.parse(text), headers: Object.fromEntries(answer.headers) };
}

export async function logOut() {
  const answer = await post('/revoke', refreshToken ? { token: refreshToken } : {});
  accessToken = refreshToken = null;
  await show();
  return answer;
}

export function setAccessToken(token) {
  accessToken = token;
}

async function show() {
  const me = accessToken ? await request('GET', '/users/me') : null;
  const loggedIn = me?.status === 200;
  byId('login').hidden = loggedIn;
  byId('home').hidden = !loggedIn;
  byId('name').textContent = loggedIn ? me.body.username : '';
  return loggedIn;
}

byId('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  const { status, body } = await logIn(byId('username').value, byId('password').value, byId('stay').checked);
  byId('problem').textContent = status === 200 ? '' : body.detail;
  await show();
});
byId('logout').addEventListener('click', logOut);
byId('everywhere').addEventListener('click', async () => {
  await request('DELETE', '/users/me/sessions');
  await logOut();
});

window.app = { logIn, logOut, refresh, request, setAccessToken, show, post, accessToken: () => accessToken };
await refresh(); // a reload stays logged in, if there is a cookie
await show();
document.body.dataset.ready = 'true';
