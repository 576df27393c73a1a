import { ResourceOwnerPassword } from 'simple-oauth2';
import { base, tryAll } from './told.mjs';

const client = new ResourceOwnerPassword({
  client: { id: 'spa', secret: 'none' },
  auth: { tokenHost: base, tokenPath: '/token', revokePath: '/revoke' },
  options: { authorizationMethod: 'body' },
});

function understand(error) {
  const { error: code, error_description: description } = error.data?.payload ?? {};
  return { status: error.output?.statusCode, error: code, description };
}

await tryAll({
  login: async (username, password) => (await client.getToken({ username, password })).token,
  refresh: async (token) => (await client.createToken({ refresh_token: token }).refresh()).token,
  revoke: async (token) => client.createToken({ refresh_token: token }).revoke('refresh_token'),
  understand,
});
