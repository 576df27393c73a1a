import * as client from 'openid-client';
import { base, told, tryAll } from './told.mjs';

const config = await client.discovery(new URL(base), 'spa', undefined, client.None(), {
  algorithm: 'oauth2',
  execute: [client.allowInsecureRequests],
});
const server = config.serverMetadata();
told.endpoints = [server.token_endpoint, server.revocation_endpoint, server.introspection_endpoint, server.jwks_uri];

async function understand(error) {
  if (error instanceof client.ResponseBodyError) {
    return { status: error.status, error: error.error, description: error.error_description };
  }
  if (error instanceof client.WWWAuthenticateChallengeError) {
    const body = await error.response.json();
    return { status: error.status, error: body.error, description: body.error_description };
  }
  throw error;
}

await tryAll({
  login: (username, password) => client.genericGrantRequest(config, 'password', { username, password }),
  refresh: (token) => client.refreshTokenGrant(config, token),
  revoke: (token) => client.tokenRevocation(config, token),
  understand,
});
