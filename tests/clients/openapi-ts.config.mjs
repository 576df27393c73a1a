export default {
  input: "openapi.json",
  output: { path: "hey_api_client", module: { extension: ".js" } },
};
