/** The OpenAPI document, readable and to be tried out; it comes with the service, not from a CDN. */

import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";

SwaggerUI({
  dom_id: "#reference",
  url: "../openapi.json",
  // The validator is somebody else's server.
  validatorUrl: null,
  tryItOutEnabled: true,
});
