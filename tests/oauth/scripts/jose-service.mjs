// A service that verifies access tokens by itself (RFC 9068): it asks nobody, and sees no revocation.
import { createServer } from 'node:http';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [base] = process.argv.slice(2);
const metadata = await (await fetch(`${base}/.well-known/oauth-authorization-server`)).json();
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri), { cooldownDuration: 0 });
const rules = { issuer: metadata.access_token_issuer, audience: 'userapi:access', typ: 'at+jwt', algorithms: ['ES256', 'EdDSA'] };

const server = createServer(async (request, response) => {
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keys, rules);
    response.end(JSON.stringify({ sub: payload.sub, client_id: payload.client_id, jti: payload.jti, ...protectedHeader }));
  } catch (error) {
    response.writeHead(401).end(JSON.stringify({ code: error.code }));
  }
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
