// What the scripts share: who logs in, and how they tell what happened to them.
export const [base, username, password, wrong] = process.argv.slice(2);
export const told = {};

export async function me(accessToken) {
  const answer = await fetch(`${base}/users/me`, { headers: { Authorization: `Bearer ${accessToken}` } });
  return { status: answer.status, ...(await answer.json()) };
}

// Log in, use the token, refresh, log out, and be refused in all ways that a client meets.
export async function tryAll({ login, refresh, revoke, understand }) {
  const refused = (work) => work.then(() => ({ error: 'none' }), understand);
  const first = await login(username, password);
  told.pair = { ...first };
  told.me = (await me(first.access_token)).username;
  const second = await refresh((await refresh(first.refresh_token)).refresh_token);
  told.refreshed = (await me(second.access_token)).username;
  told.again = await refused(refresh(first.refresh_token)); // two refreshes later whoever has it has a copy
  told.ended = await me(second.access_token);
  const third = await login(username, password);
  await revoke(third.refresh_token);
  told.loggedOut = await me(third.access_token);
  told.wrongPassword = await refused(login(username, wrong));
  for (let attempt = 0; attempt < 8; attempt += 1) {
    told.locked = await refused(login('mallory', wrong));
    if (told.locked.status === 429) break;
  }
  console.log(JSON.stringify(told));
}
