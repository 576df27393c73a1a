import * as oauth from 'oauth4webapi';
import { base, told, tryAll } from './told.mjs';

const options = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(base);
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options });
const server = await oauth.processDiscoveryResponse(issuer, discovered);
told.endpoints = [server.token_endpoint, server.revocation_endpoint, server.introspection_endpoint, server.jwks_uri];
const client = { client_id: 'spa' };

async function understand(error) {
  if (error instanceof oauth.ResponseBodyError) {
    return { status: error.status, error: error.error, description: error.error_description };
  }
  if (error instanceof oauth.WWWAuthenticateChallengeError) {
    const body = await error.response.json(); // a 401 has a challenge, which goes first; its body says the rest
    return { status: error.status, error: body.error, description: body.error_description };
  }
  throw error;
}

await tryAll({
  login: async (username, password) => {
    const form = { username, password };
    const answer = await oauth.genericTokenEndpointRequest(server, client, oauth.None(), 'password', form, options);
    return oauth.processGenericTokenEndpointResponse(server, client, answer);
  },
  refresh: async (token) => {
    const answer = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, options);
    return oauth.processRefreshTokenResponse(server, client, answer);
  },
  revoke: async (token) => {
    await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, oauth.None(), token, options));
  },
  understand,
});
